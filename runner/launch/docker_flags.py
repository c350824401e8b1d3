"""The table of all flags of `docker run` and `docker create` (docker 28, with the hidden ones): name, short form, kind, and fate.

* supported: `put` writes it into the draft of the create body;
* no effect: accepted, and a notice says why it does nothing;
* reserved: the runner itself needs it;
* refused: it means nothing here, and the error says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

from runner.launch import docker_values as values
from runner.launch.docker_draft import Draft, Setter, config, host, hosts, later, pairs
from runner.launch.docker_files import label, variable
from runner.launch.docker_mounts import mount, tmpfs, volume
from runner.launch.docker_network import exposed, network, published
from runner.launch.docker_values import boolean, decimal, duration, not_negative, one_of, size, whole

SUPPORTED, NO_EFFECT, RESERVED, REFUSED = "supported", "no effect", "reserved", "refused"


def nothing(_draft: Draft, _value: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Flag:
    name: str  # as it is written: --memory
    short: str = ""  # one letter
    is_switch: bool = False  # takes a value only as --flag=false
    fate: str = SUPPORTED
    reason: str = ""  # why it has no effect, is reserved, or is refused
    put: Setter = nothing


def value(name: str, put: Setter, short: str = "") -> Flag:
    return Flag(name=name, short=short, put=put)


def switch(name: str, put: Setter, short: str = "") -> Flag:
    return Flag(name=name, short=short, put=put, is_switch=True)


def idle(name: str, reason: str, short: str = "", *, is_switch: bool = True) -> Flag:
    put = later(name, boolean) if is_switch else nothing
    return Flag(name=name, short=short, is_switch=is_switch, fate=NO_EFFECT, reason=reason, put=put)


def reserved(name: str, reason: str, short: str = "") -> Flag:
    return Flag(name=name, short=short, fate=RESERVED, reason=reason)


def refused(name: str, reason: str, *, is_switch: bool = False) -> Flag:
    return Flag(name=name, is_switch=is_switch, fate=REFUSED, reason=reason)


_WINDOWS = "it is for Windows containers only"
_OUTPUT = "the runner takes the output of workers through files"

FLAGS = (
    # What the runner itself needs, and what means nothing where nobody types at a terminal.
    reserved("--entrypoint", "the runner starts its own program in the container"),
    reserved("--name", "containers are named after their job"),
    reserved("--workdir", "the working folder is the job's", "w"),
    reserved("--restart", "the runner starts a container anew itself"),
    reserved("--cidfile", "the runner keeps track of its containers"),
    idle("--detach", "containers always run in the background", "d"),
    idle("--interactive", "nobody types into the container", "i"),
    idle("--tty", _OUTPUT, "t"),
    idle("--rm", "containers are always removed"),
    idle("--attach", _OUTPUT, "a", is_switch=False),
    idle("--detach-keys", "nobody is attached to the container", is_switch=False),
    idle("--sig-proxy", "nobody is attached to the container"),
    idle("--pull", "the image was made ready before", is_switch=False),
    idle("--quiet", "the image was made ready before", "q"),
    idle("--disable-content-trust", "the image was made ready before"),
    refused("--platform", "the platform is that of the image; build or pull the image for the platform wanted"),
    refused("--help", "it would print a page and start nothing; leave it out", is_switch=True),
    refused("--use-api-socket", "it would hand out the engine and the registry's passwords; leave it out", is_switch=True),
    refused("--cpu-count", _WINDOWS),
    refused("--cpu-percent", _WINDOWS),
    refused("--io-maxbandwidth", _WINDOWS),
    refused("--io-maxiops", _WINDOWS),
    # Environment, labels, user, host name.
    value("--env", later("--env", variable), "e"),
    value("--env-file", later("--env-file")),
    value("--label", later("--label", label), "l"),
    value("--label-file", later("--label-file")),
    value("--annotation", pairs("Annotations", values.option)),
    value("--user", config("User"), "u"),
    value("--group-add", hosts("GroupAdd")),
    value("--hostname", config("Hostname"), "h"),
    value("--domainname", config("Domainname")),
    # Files.
    value("--volume", volume, "v"),
    value("--mount", mount),
    value("--tmpfs", tmpfs),
    value("--volumes-from", hosts("VolumesFrom")),
    value("--volume-driver", host("VolumeDriver")),
    value("--storage-opt", pairs("StorageOpt", values.key_value)),
    value("--shm-size", host("ShmSize", size)),
    switch("--read-only", host("ReadonlyRootfs", boolean)),
    # Devices.
    value("--device", hosts("Devices", values.devices)),
    value("--device-cgroup-rule", hosts("DeviceCgroupRules", values.device_rule)),
    value("--gpus", hosts("DeviceRequests", values.gpus)),
    # Networks.
    value("--network", network),
    value("--net", network),
    value("--network-alias", later("--network-alias")),
    value("--net-alias", later("--network-alias")),
    value("--ip", later("--ip", values.ipv4)),
    value("--ip6", later("--ip6", values.ipv6)),
    value("--link-local-ip", later("--link-local-ip", values.ip_address)),
    value("--mac-address", config("MacAddress", values.mac_address)),
    value("--link", later("--link")),
    value("--publish", later("--publish", published), "p"),
    switch("--publish-all", host("PublishAllPorts", boolean), "P"),
    value("--expose", later("--expose", exposed)),
    value("--add-host", hosts("ExtraHosts", values.extra_host)),
    value("--dns", hosts("Dns", values.ip_address)),
    value("--dns-option", hosts("DnsOptions")),
    value("--dns-opt", hosts("DnsOptions")),
    value("--dns-search", hosts("DnsSearch", values.domain)),
    # Namespaces and rights.
    value("--pid", host("PidMode", one_of("", "host", prefix="container:"))),
    value("--ipc", host("IpcMode", one_of("", "none", "private", "shareable", "host", prefix="container:"))),
    value("--uts", host("UTSMode", one_of("", "host"))),
    value("--userns", host("UsernsMode", one_of("", "host"))),
    value("--cgroupns", host("CgroupnsMode", one_of("", "private", "host"))),
    value("--cgroup-parent", host("CgroupParent")),
    switch("--privileged", host("Privileged", boolean)),
    value("--cap-add", later("--cap-add")),
    value("--cap-drop", later("--cap-drop")),
    value("--security-opt", later("--security-opt")),
    value("--runtime", host("Runtime")),
    value("--isolation", host("Isolation", one_of("", "default"))),
    value("--sysctl", pairs("Sysctls", values.sysctl)),
    switch("--init", host("Init", boolean)),
    # Limits.
    value("--cpus", host("NanoCpus", values.nano_cpus)),
    value("--cpu-shares", host("CpuShares", whole), "c"),
    value("--cpu-period", host("CpuPeriod", whole)),
    value("--cpu-quota", host("CpuQuota", whole)),
    value("--cpu-rt-period", host("CpuRealtimePeriod", whole)),
    value("--cpu-rt-runtime", host("CpuRealtimeRuntime", whole)),
    value("--cpuset-cpus", host("CpusetCpus")),
    value("--cpuset-mems", host("CpusetMems")),
    value("--memory", host("Memory", size), "m"),
    value("--memory-reservation", host("MemoryReservation", size)),
    value("--memory-swap", host("MemorySwap", values.swap_size)),
    value("--memory-swappiness", host("MemorySwappiness", values.swappiness)),
    value("--kernel-memory", host("KernelMemory", size)),
    switch("--oom-kill-disable", host("OomKillDisable", boolean)),
    value("--oom-score-adj", host("OomScoreAdj", decimal)),
    value("--pids-limit", host("PidsLimit", whole)),
    value("--ulimit", hosts("Ulimits", values.ulimit)),
    value("--blkio-weight", host("BlkioWeight", values.weight)),
    value("--blkio-weight-device", hosts("BlkioWeightDevice", values.weighted_device)),
    value("--device-read-bps", hosts("BlkioDeviceReadBps", values.throttled_bytes)),
    value("--device-write-bps", hosts("BlkioDeviceWriteBps", values.throttled_bytes)),
    value("--device-read-iops", hosts("BlkioDeviceReadIOps", values.throttled_rate)),
    value("--device-write-iops", hosts("BlkioDeviceWriteIOps", values.throttled_rate)),
    # Health, stop, log.
    value("--health-cmd", later("--health-cmd")),
    value("--health-interval", later("--health-interval", duration)),
    value("--health-timeout", later("--health-timeout", duration)),
    value("--health-start-period", later("--health-start-period", duration)),
    value("--health-start-interval", later("--health-start-interval", duration)),
    value("--health-retries", later("--health-retries", not_negative)),
    switch("--no-healthcheck", later("--no-healthcheck", boolean)),
    value("--stop-signal", config("StopSignal")),
    value("--stop-timeout", config("StopTimeout", whole)),
    value("--log-driver", later("--log-driver")),
    value("--log-opt", later("--log-opt", values.option)),
)
BY_NAME = {flag.name: flag for flag in FLAGS}
BY_LETTER = {flag.short: flag for flag in FLAGS if flag.short}
