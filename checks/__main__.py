import sys

from checks.whole import main

sys.exit(main(sys.argv[1:]))
