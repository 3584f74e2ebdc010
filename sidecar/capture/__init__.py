"""Redirect rules of a pod: every inbound TCP connection ends at Envoy's listener, whatever port it asked for.

plan.py says what shall hold, nftables.py and iptables.py say it in the kernel's two languages (pure), apply.py runs
their tools. Used by the init container that the injector adds for capture `redirect`.
"""
