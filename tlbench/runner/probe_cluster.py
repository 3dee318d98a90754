"""Asks a Ray cluster whether it is there, in a process of its own: ``python -m tlbench.runner.probe_cluster ADDRESS``.

Ray's client waits for most of a minute where nobody answers, cannot be interrupted, and logs to the terminal meanwhile;
a process can be ended. It prints JSON, a line each: ``{"at": "HOST:PORT"}`` once it knows where, and then
``{"machines": 2}`` or ``{"refused": "why"}``.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main(address: str) -> None:
    """Resolve an address as ``ray.init`` does, and count the machines of the cluster there."""
    from ray import _raylet
    from ray._private.services import canonicalize_bootstrap_address

    ray: Any = _raylet  # which declares no types
    try:
        place = canonicalize_bootstrap_address(address)
    except ConnectionError:  # what "auto" raises where it finds nothing
        _say(refused="none runs on this machine, and RAY_ADDRESS names none")
        return
    except Exception as error:  # a host that has no address, or no port: Ray raises what it comes upon
        _say(refused=_first_line(error))
        return
    _say(at=place)
    try:
        machines = ray.GcsClient(address=place, cluster_id=None).get_all_node_info(timeout=5)
    except Exception as error:  # of Ray's, which has several for this
        _say(refused=_first_line(error))
    else:
        _say(machines=len(machines))


def _first_line(error: BaseException) -> str:
    if type(error).__name__ == "AuthenticationError":
        return "it asks for a token, and there is none here, or another one"
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
