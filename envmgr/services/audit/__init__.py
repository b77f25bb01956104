"""The audit trail: written with every call, sealed from outside, checked, proved and kept."""
