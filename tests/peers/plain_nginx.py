"""nginx as a fast upstream for the parts that need load: `/kibibyte` answers with 1 KiB."""

import os

from harness import WORK, Program, free_port

CONFIGURATION = """
{user}
daemon off;
worker_processes 1;
error_log stderr warn;
pid {work}/plain-{port}.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "{kibibyte}"; }}
  }}
}}
"""


class PlainNginx(Program):
    def __init__(self):
        self.port = free_port()
        configuration = WORK / f"plain-{self.port}.conf"
        # Started by root, nginx would hand its work to a user who cannot reach the directory.
        user = "user root;" if os.geteuid() == 0 else ""
        configuration.write_text(CONFIGURATION.format(user=user, work=WORK, port=self.port, kibibyte="k" * 1024))
        super().__init__("nginx", "nginx", "-e", "stderr", "-p", WORK, "-c", configuration)
        self.wait_open(self.port)
