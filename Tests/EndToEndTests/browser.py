"""Drives one headless Chromium for a test: a line of JSON in is a step, a line of JSON out is what came of it.

The browser is spoken to over a pipe (--remote-debugging-pipe), so it needs no port and no library. Scripts are switched
off for every page: what the tests see works without them. Clicks and keys are real input events, not calls.

usage: browser.py CHROMIUM PROFILE_FOLDER CERTIFICATE_KEY_HASH
"""
import base64, json, os, select, subprocess, sys, time

PATIENCE = 180


class Browser:
    def __init__(self, program, profile, key_hash):
        to_browser, self.commands = os.pipe()
        self.events, from_browser = os.pipe()

        def place():
            # The pipe's ends must be descriptors 3 and 4, whatever numbers they have now.
            safe = [os.dup(to_browser), os.dup(from_browser)]
            os.dup2(os.dup(safe[0]), 3)
            os.dup2(os.dup(safe[1]), 4)

        self.process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={profile}",
             f"--ignore-certificate-errors-spki-list={key_hash}", "about:blank"],
            preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.unread, self.number, self.answers, self.complaints, self.loads = b"", 0, {}, [], 0
        self.session = None
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ["Page", "DOM", "Log", "Runtime", "Network", "Accessibility"]:
            self.call(domain + ".enable")
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        number = self.number
        self.until(lambda: number in self.answers, method)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer.get("result", {})

    def until(self, is_true, what):
        deadline = time.monotonic() + PATIENCE
        while not is_true():
            if not select.select([self.events], [], [], max(0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"{what} did not come")
            piece = os.read(self.events, 1 << 20)
            if not piece:
                raise RuntimeError(f"the browser ended before {what}")
            *whole, self.unread = (self.unread + piece).split(b"\0")
            for text in whole:
                self.take(json.loads(text))

    def take(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if "id" in message:
            self.answers[message["id"]] = message
        elif method == "Page.loadEventFired":
            self.loads += 1
        elif method == "Log.entryAdded":
            self.complaints.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append("console: " + json.dumps(parameters.get("args", [])))
        elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("https://127.0.0.1:"):
            self.complaints.append("request to elsewhere: " + parameters["request"]["url"])

    # Steps

    def open(self, url):
        loads = self.loads
        self.call("Page.navigate", url=url)
        self.until(lambda: self.loads > loads, f"the page {url}")
        return self.page()

    def page(self):
        """The page that is there now, and what the browser complained of since the last time."""
        html = None
        while html is None:
            root = self.call("DOM.getDocument")["root"]
            try:
                html = self.call("DOM.getOuterHTML", nodeId=root["nodeId"])["outerHTML"]
            except RuntimeError as error:
                # A page that goes on by itself may do so between the two calls.
                if "Could not find node" not in str(error):
                    raise
        complaints, self.complaints = self.complaints, []
        entries = self.call("Page.getNavigationHistory")
        return {"html": html, "url": entries["entries"][entries["currentIndex"]]["url"], "complaints": complaints}

    def click(self, selector):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.scrollIntoViewIfNeeded", nodeId=node)
        corners = self.call("DOM.getBoxModel", nodeId=node)["model"]["content"]
        place = {"x": (corners[0] + corners[4]) / 2, "y": (corners[1] + corners[5]) / 2}
        loads = self.loads
        for kind in ["mousePressed", "mouseReleased"]:
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        self.until(lambda: self.loads > loads, f"a page after a click on {selector}")
        return self.page()

    def tabs(self, count):
        """What has the focus after each press of the Tab key, from the top: role and name."""
        found = []
        for _ in range(count):
            for kind in ["rawKeyDown", "keyUp"]:
                self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
            focused = [n for n in self.tree() if n["focused"] and n["role"] != "RootWebArea"]
            found.append(f"{focused[-1]['role']} {focused[-1]['name']}" if focused else "nothing")
        return {"focused": found}

    def tree(self):
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [{
            "role": node.get("role", {}).get("value", ""), "name": node.get("name", {}).get("value", ""),
            "focused": any(p["name"] == "focused" and p["value"]["value"] for p in node.get("properties", [])),
        } for node in nodes if not node.get("ignored")]

    def roles(self):
        return {"nodes": [f"{n['role']} {n['name']}" for n in self.tree()]}

    def shot(self, path, width, height, dark=False, whole=False):
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        sizes = self.call("Page.getLayoutMetrics")["cssContentSize"]
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **(
            {"clip": {"x": 0, "y": 0, "width": width, "height": sizes["height"], "scale": 1}} if whole else {}))
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))
        return {"width": sizes["width"], "height": sizes["height"]}

    def close(self):
        self.call("Browser.close")
        self.process.wait(PATIENCE)
        return {}


browser = Browser(*sys.argv[1:])
for line in sys.stdin:
    step = json.loads(line)
    try:
        answer = getattr(browser, step.pop("do"))(**step)
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
browser.process.kill()
