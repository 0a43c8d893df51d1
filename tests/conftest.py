"""What holds for all tests."""

import signal

# A job in the background is started ignoring these, and would hand that on to the processes that
# tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
