"""Recovery: who notices failures says so here, and the ladder's measures are chosen, taken and watched."""
