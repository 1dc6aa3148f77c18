"""What every test relies on."""

import signal


def pytest_configure() -> None:
    """Listen to interrupts also where pytest was started deaf to them, as in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
