#!/bin/sh
# After the installation and the removal of a package: systemd is to know which units there are. What runs, runs on: it is
# the operator's, who knows when it may be started again.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
