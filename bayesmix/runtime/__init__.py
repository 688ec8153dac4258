"""Use of the machine: precision, devices, processes, progress, files."""
