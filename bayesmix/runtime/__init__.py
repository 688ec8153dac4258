"""How the machine is used: precision, devices, processes, progress, files."""
