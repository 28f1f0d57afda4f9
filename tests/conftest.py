"""What holds for every test."""

import signal

# A suite that was started in the background of a shell ignores Ctrl-C, and so would every program that a test starts
# and interrupts: what is ignored is inherited, a handler is not.
signal.signal(signal.SIGINT, signal.default_int_handler)
