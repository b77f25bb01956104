"""`envmgr init`: look at a repository and propose a template for it."""
