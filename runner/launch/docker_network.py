"""`--network` with all that belongs to it, `--publish`, `--expose`, as docker's own command line reads them (docker/cli `opts/network.go`
and `cli/command/container/opts.go`, docker/go-connections `nat`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from runner.errors import UserError
from runner.launch.docker_draft import Body, Draft
from runner.launch.docker_values import csv_fields, ip_address, ipv4, ipv6, key_value, mac_address

_PUBLISH = "[IP:][HOST_PORT:]CONTAINER_PORT[/tcp|udp|sctp]; ports may be ranges of the same length"
_NETWORK = "a name, or fields of name, alias, ip, ip6, mac-address, link-local-ip, driver-opt: name=net1,alias=a"
_SHARED = ("default", "bridge", "host", "none")
Binding = tuple[str, str, str]  # container port with protocol, host address, host port


def is_user_defined(name: str) -> bool:
    return name not in _SHARED and not name.startswith("container:")


def network(draft: Draft, value: str) -> None:
    """A name, or fields; several networks are several flags."""
    found: Body = {"name": value, "alias": [], "link-local-ip": [], "driver-opt": {}}
    if re.search(r"\w+=\w+", value):
        found["name"] = ""
        for part in csv_fields(value):
            key, _, one = (piece.strip() for piece in part.partition("="))
            _network_field(found, key, one)
    if not str(found["name"]).strip():
        raise ValueError(_NETWORK)
    draft.networks.append(found)


def _network_field(found: Body, key: str, value: str) -> None:
    parse: dict[str, Callable[[str], str]] = {"name": str, "ip": ipv4, "ip6": ipv6, "mac-address": mac_address}
    known = found.get(key)
    if isinstance(known, list):
        known.append(ip_address(value) if key == "link-local-ip" else value)
    elif isinstance(known, dict):
        name, one = key_value(value)
        known[name.strip()] = one.strip()
    elif key in parse:
        found[key] = parse[key](value)
    else:
        raise ValueError(_NETWORK)


def finish_networks(draft: Draft) -> dict[str, Body]:
    """NetworkMode, and the endpoints where more than a name was said. Flags without a network of their own go to the first one."""
    wanted = draft.networks or [{"name": "default", "alias": [], "link-local-ip": [], "driver-opt": {}}]
    names = [str(one["name"]) for one in wanted]
    if len(set(names)) < len(names):
        raise UserError(f"--network {max(names, key=names.count)} stands twice", todo="name each network once")
    if len({is_user_defined(name) for name in names}) > 1:
        raise UserError(f"--network cannot join {' and '.join(names)}", allowed="one network, or several that somebody made")
    if draft.networks:
        draft.host["NetworkMode"] = names[0]
    found = {name: _endpoint(_first(draft, one) if one is wanted[0] else one) for name, one in zip(names, wanted, strict=True)}
    return {} if len(found) == 1 and not any(found.values()) else found


def _first(draft: Draft, network: Body) -> Body:
    """The first network, with what older flags say of it."""
    merged = dict(network)
    flags = {"--network-alias": "alias", "--ip": "ip", "--ip6": "ip6", "--link-local-ip": "link-local-ip"}
    for flag, key in flags.items():
        if draft.all(flag) and merged.get(key):
            raise UserError(f"{flag} and --network with {key}=… say the same", todo="write one of them")
        if draft.all(flag):
            merged[key] = draft.all(flag) if isinstance(merged.get(key), list) else draft.last(flag)
    if draft.all("--network-alias") and not is_user_defined(str(merged["name"])):
        raise UserError("--network-alias needs --network with a network that somebody made", todo="leave --network-alias out")
    if draft.all("--link") and is_user_defined(str(merged["name"])):
        merged["link"] = draft.all("--link")
    return merged


def _endpoint(network: Body) -> Body:
    address = {"IPv4Address": network.get("ip"), "IPv6Address": network.get("ip6"), "LinkLocalIPs": network["link-local-ip"]}
    found = {
        "Aliases": network["alias"],
        "DriverOpts": network["driver-opt"],
        "Links": network.get("link"),
        "MacAddress": network.get("mac-address"),
        "IPAMConfig": {key: value for key, value in address.items() if value},
    }
    return {key: value for key, value in found.items() if value}


def port_range(value: str) -> range:
    if not re.fullmatch(r"\d{1,5}(-\d{1,5})?", value, re.ASCII):
        raise ValueError(_PUBLISH)
    low, _, high = value.partition("-")
    found = range(int(low), int(high or low) + 1)
    if not found or found[-1] > 65535:
        raise ValueError("ports from 0 to 65535")
    return found


def exposed(value: str) -> list[str]:
    """`--expose 80`, `80-90/udp`."""
    ports, _, protocol = value.partition("/")
    return [f"{port}/{protocol or 'tcp'}" for port in port_range(ports)]


def published(value: str) -> list[Binding]:
    """`--publish`: as the short notation, or as `published=8080,target=80,protocol=tcp`."""
    if "=" in value:
        said = dict(key_value(part) for part in value.split(","))
        value = f"{said.get('published', '')}:{said.get('target', '')}/{said.get('protocol', 'tcp')}"
    address, host, port = ["", "", *value.rsplit(":", 2)][-3:]
    ports, _, protocol = port.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise ValueError(_PUBLISH)
    if address:
        address = address.removeprefix("[").removesuffix("]")
        ip_address(address)
    return list(_bindings(port_range(ports), port_range(host) if host else None, protocol, address))


def _bindings(inside: range, outside: range | None, protocol: str, address: str) -> Iterator[Binding]:
    if outside and len(outside) != len(inside) and len(inside) > 1:
        raise ValueError(_PUBLISH)
    for number, port in enumerate(inside):
        host = str(outside[number]) if outside else ""
        if outside and len(inside) == 1 and len(outside) > 1:
            host += f"-{outside[-1]}"  # the engine takes a free one of the range
        yield f"{port}/{protocol}", address, host


def finish_ports(draft: Draft) -> None:
    """ExposedPorts of the body and PortBindings of HostConfig."""
    bindings: dict[str, list[Body]] = {}
    for value in draft.all("--publish"):
        for port, address, host in published(value):
            bindings.setdefault(port, []).append({"HostIp": address, "HostPort": host})
    ports = dict.fromkeys([*bindings, *(port for value in draft.all("--expose") for port in exposed(value))])
    if ports:
        draft.config["ExposedPorts"] = {port: {} for port in ports}
    if bindings:
        draft.host["PortBindings"] = bindings
