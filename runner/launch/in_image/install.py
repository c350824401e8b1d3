"""Makes the environment of a conda file inside a container: `python install.py PLAN OUT`.

PLAN is JSON: `prefix`, `work`, `files`, `environment`, and either `requirements` with `wheel`, or `conda` (a command).
All output goes to OUT/output.log, and the step that is running stands in OUT/step. Standard library only, Python 3.7 or newer.
"""

import json
import os
import shutil
import subprocess
import sys

# What would make the interpreter of an environment import from elsewhere.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "VIRTUAL_ENV")


class Installer:
    def __init__(self, plan, out):
        self.plan, self.out = plan, out
        self.prefix, self.work = plan["prefix"], plan["work"]
        self.python = os.path.join(self.prefix, "bin", "python")
        self.log = open(os.path.join(out, "output.log"), "ab", buffering=0)
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        self.environment = dict(kept, **plan["environment"])

    def step(self, name):
        with open(os.path.join(self.out, "step"), "w") as file:
            file.write(name)

    def say(self, text):
        self.log.write(text.encode("utf-8", "replace") + b"\n")

    def attempt(self, *command):
        """The exit status of a command whose output goes to the log."""
        try:
            return subprocess.call(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.environment, cwd=self.work)
        except OSError as error:
            self.say("%s: %s" % (command[0], error.strerror))
            return 127

    def run(self, *command):
        status = self.attempt(*command)
        if status:
            sys.exit(status if status > 0 else 128 - status)

    def install(self):
        self.clear(self.prefix, self.work)
        os.makedirs(os.path.dirname(self.prefix), exist_ok=True)
        if os.path.isdir(self.plan["files"]):
            shutil.copytree(self.plan["files"], self.work, symlinks=True)  # builds of packages write beside their source
        else:
            os.makedirs(self.work)
        if self.plan.get("conda"):
            self.conda()
        else:
            self.pip()
        self.clear(self.work, self.plan.get("packages"))

    def clear(self, *folders):
        for folder in filter(None, folders):
            shutil.rmtree(folder, ignore_errors=True)

    def conda(self):
        self.step(os.path.basename(self.plan["conda"][0]))
        self.run(*self.plan["conda"])
        if not os.path.exists(self.python):
            self.say("the environment has no Python: add `python` to the dependencies of the conda file")
            sys.exit(1)

    def pip(self):
        self.step("making a virtual environment")
        self.run(sys.executable, "-m", "venv", "--without-pip", self.prefix)
        if not self.plan["requirements"]:
            return
        self.step("installing pip")
        self.bring_pip(self.plan["wheel"])
        self.step("pip install")
        quiet = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--no-cache-dir")
        self.run(self.python, "-m", "pip", "install", *(quiet + ("-r", self.plan["requirements"])))

    def bring_pip(self, wheel):
        """From the wheel that came along, where it fits this Python; or the image's own."""
        if wheel:
            self.run(self.python, wheel + "/pip", "install", "--quiet", "--no-cache-dir", "--no-index", "--no-deps", wheel)
            return
        try:
            import pip
        except ImportError:
            self.run(self.python, "-m", "ensurepip")
            return
        code = "import sysconfig; print(sysconfig.get_path('purelib'))"
        target = subprocess.check_output([self.python, "-c", code], env=self.environment).decode().strip()
        shutil.copytree(os.path.dirname(pip.__file__), os.path.join(target, "pip"))


if __name__ == "__main__":
    with open(sys.argv[1]) as plan_file:
        Installer(json.load(plan_file), sys.argv[2]).install()
