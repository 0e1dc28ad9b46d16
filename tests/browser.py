"""How tests start Debian's Chromium."""

# Chromium's sandbox does not run as root, nor in most containers; the rest keeps it off the net.
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
