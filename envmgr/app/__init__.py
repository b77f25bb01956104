"""What envmgr can do, independent of any face."""
