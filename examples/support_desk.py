"""A support desk: a desktop for each customer, a link for the customer to work in it, and one for the agent who looks on.

    python support_desk.py Ada
    {"session": "…", "customer": "https://…/s/…#token=…", "agent": "https://…/s/…#token=…"}

The desk ends on Ctrl-C, or when the customer has left; the links end with it, and by themselves after an hour.
"""

from __future__ import annotations

import json
import sys

import oriel


def open_desk(client: oriel.Client, customer: str) -> oriel.Session:
    """A desktop that is deleted when nobody has used it for ten minutes."""
    return client.session(width=1024, height=768, command=["xterm", "-title", f"Desk of {customer}"], idle_timeout=600)


def main() -> None:
    customer = sys.argv[1] if len(sys.argv) > 1 else "customer"
    with oriel.Client() as client, open_desk(client, customer) as desk, desk.events() as events:
        # The customer works; the agent sees it, and is given control only if the customer asks for help.
        customers = desk.invite("controller", expires=3600, display_name=customer)
        agents = desk.invite("viewer", expires=3600, display_name="Support")
        links = {"session": desk.id, "customer": customers.url, "agent": agents.url}
        print(json.dumps(links), flush=True)

        inside: set[str] = set()
        for event in events:
            if isinstance(event, oriel.models.PeerJoinedEvent):
                print(f"{event.display_name} is here", file=sys.stderr, flush=True)
                if event.role == "controller":
                    inside.add(event.peer)
            elif isinstance(event, oriel.models.PeerLeftEvent) and event.peer in inside:
                inside.discard(event.peer)
                if not inside:
                    break
        customers.revoke()
        agents.revoke()
    print("the desk is closed", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
