"""Kubernetes: how a pod gets its sidecar, and how no pod goes without one.

patch.py decides what a pod becomes, rules.py and admit.py what may be admitted, analyze.py what of a cluster lets
traffic around the guard; all of them pure. webhook.py and cluster.py are the shells towards the API server.
"""
