"""Commands about plugins, the environment and the shell."""
