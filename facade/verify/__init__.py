"""The acceptance run: black-box checks over HTTP of any deployed facade in front of a sandbox."""
