"""JupyterHub for a class on one machine; teaching/classroom.py starts it. One server a student, as that student.

Who may come in: members of the Unix group, with the password of their account on this machine (PAM).
"""

import os
import pwd
import subprocess
from pathlib import Path

c = get_config()  # noqa: F821  (JupyterHub defines it)

COURSE, CLASS = Path(os.environ["CLASS_COURSE"]), Path(os.environ["CLASS_FOLDER"])
HUB_BIN, VENV = COURSE / ".venv-class" / "bin", (COURSE / ".venv").resolve()


def own_copy(spawner) -> None:
    """Give a student a copy of helpers/ and data/ of their own, made with their own rights; later, what is newer there.

    The hub waits for it, so nothing of the student's is opened, and there is an end.
    """
    account = pwd.getpwnam(spawner.user.name)
    rights = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}
    rights |= {"env": {"PATH": "/usr/local/bin:/usr/bin:/bin"}, "timeout": 30}
    subprocess.run(["mkdir", "-p", home(spawner)], check=True, **rights)
    command = ["cp", "-ru", "--remove-destination", f"{CLASS}/course/.", home(spawner)]
    subprocess.run(command, check=True, **rights)


def home(spawner) -> str:
    return str(Path(pwd.getpwnam(spawner.user.name).pw_dir) / "two-views")


c.JupyterHub.authenticator_class = "pam"
c.LocalAuthenticator.allowed_groups = {os.environ["CLASS_GROUP"]}
c.PAMAuthenticator.open_sessions = False
c.JupyterHub.bind_url = f"http://{os.environ['CLASS_ADDRESS']}"
c.JupyterHub.hub_port = int(os.environ["CLASS_PORTS"].split()[0])
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['CLASS_PORTS'].split()[1]}"
c.ConfigurableHTTPProxy.command = [str(HUB_BIN.parent / "node_modules" / ".bin" / "configurable-http-proxy")]
c.ConfigurableHTTPProxy.pid_file = f"{CLASS}/hub/proxy.pid"
c.JupyterHub.cookie_secret_file = f"{CLASS}/hub/cookie_secret"
c.JupyterHub.db_url = f"sqlite:///{CLASS}/hub/jupyterhub.sqlite"
c.JupyterHub.cleanup_servers = True

c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.Spawner.pre_spawn_hook = own_copy
c.Spawner.cmd = [str(HUB_BIN / "python"), "-m", "jupyterhub.singleuser"]
c.Spawner.notebook_dir = "~/two-views"
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 180  # seconds; when a class of thirty starts at once, the last one waits
c.Spawner.http_timeout = 180
c.Spawner.environment = {
    "PYTHONPATH": home,
    "JUPYTER_PATH": f"{VENV}/share/jupyter",
    "JUPYTER_CONFIG_PATH": f"{CLASS}/jupyter:{VENV}/etc/jupyter",
    "OMP_NUM_THREADS": os.environ.get("CLASS_THREADS", "1"),  # or one student's training takes every core
}

c.JupyterHub.load_roles = [
    {
        "name": "culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["culler"],
    }
]
idle = os.environ.get("CLASS_IDLE", "3600")  # seconds without a running cell or an open page
c.JupyterHub.services = [
    {"name": "culler", "command": [str(HUB_BIN / "python"), "-m", "jupyterhub_idle_culler", f"--timeout={idle}"]}
]
