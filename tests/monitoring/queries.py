"""Evaluates every query of a dashboard, and looks at every rule, in a Prometheus that reads a server with one streamer and one peer.

queries.py PROMETHEUS DASHBOARD
"""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# Series that only peers of WebRTC and clusters make, of which there are none here.
MAY_BE_EMPTY = ("oriel_peer_", "oriel_joins_total", "oriel_cluster_")
DEADLINE_S = 60


def get(path: str, **query: str) -> dict:
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        # It has just been started: whoever waits asks again.
        if error.code == 503:
            raise
        sys.exit(f"{path} {query}: {error.read().decode()}")


def wait_for(what: str, condition) -> None:
    end = time.monotonic() + DEADLINE_S
    said = "nothing was heard"
    while time.monotonic() < end:
        try:
            said = condition()
        except urllib.error.URLError as error:
            said = str(error)
        if not said:
            print(f"  ok: {what}", file=sys.stderr)
            return
        time.sleep(0.2)
    sys.exit(f"not within {DEADLINE_S} s: {what}: {said}")


def expressions(dashboard: dict):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$streamer", ".*")


def unhealthy_rules() -> str:
    rules = [rule for group in get("rules")["groups"] for rule in group["rules"]]
    if len(rules) < 5:
        return f"{len(rules)} rules"
    bad = [f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"]
    firing = [alert["labels"]["alertname"] for alert in get("alerts")["alerts"] if alert["state"] == "firing"]
    return ", ".join(bad + firing)


def metrics_of_rules() -> str:
    words = set()
    for group in get("rules")["groups"]:
        for rule in group["rules"]:
            word = "".join(c if c.isalnum() or c == "_" else " " for c in rule["query"])
            words |= {name for name in word.split() if name.startswith("oriel_")}
    wanted = [name for name in sorted(words) if not name.startswith(MAY_BE_EMPTY)]
    missing = [name for name in wanted if not get("query", query=f"count({name})")["result"]]
    return ", ".join(missing) if len(words) > 5 else f"only {words}"


def empty_panels() -> str:
    missing = []
    for title, expression in expressions(dashboard):
        found = get("query", query=expression)["result"]
        if not found and not any(name in expression for name in MAY_BE_EMPTY):
            missing.append(f"{title}: {expression}")
    return "; ".join(missing)


prometheus = sys.argv[1]
with open(sys.argv[2], encoding="utf-8") as file:
    dashboard = json.load(file)
assert len(list(expressions(dashboard))) > 20
wait_for("every rule can be evaluated, and none fires", unhealthy_rules)
wait_for("every metric of the rules has series", metrics_of_rules)
wait_for("every query of the dashboard has series", empty_panels)
