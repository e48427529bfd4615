"""The command line. It never touches the kernel: see ``lifecycle`` for that."""
