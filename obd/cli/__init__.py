"""The command line: what is said on the console, the commands, their flags."""
