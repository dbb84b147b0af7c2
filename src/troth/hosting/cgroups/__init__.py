"""Control groups (cgroups(7)): a process with all that it starts is held to its bounds, and ended as one."""
