#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
#
# The viewer in headless Chromium: every page, hostile texts, live update, keyboard, addresses, many
# rows, long traces. Usage: view_browser.py HONE VIEW_STORE [--shots FOLDER] [TEST...]
# Needs Debian's chromium, chromium-driver and python3-selenium; skipped (exit 77) without them.
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HONE, VIEW_STORE = (os.path.abspath(path) for path in (sys.argv.pop(1), sys.argv.pop(1)))
SHOTS = ""
if "--shots" in sys.argv:
    at = sys.argv.index("--shots")
    SHOTS = sys.argv[at + 1]
    del sys.argv[at:at + 2]

try:
    from selenium import webdriver
    from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
except ImportError:
    print("skipped: python3-selenium is not installed (apt-get install chromium chromium-driver "
          "python3-selenium)")
    sys.exit(77)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    print("skipped: chromium or chromium-driver is not installed")
    sys.exit(77)

WAIT_S = 20


class Server:
    """`hone view` over a run that grows when it is told to, or one of many iterations."""

    def __init__(self, iterations=None):
        self.folder = tempfile.mkdtemp(prefix="hone_view_")
        self.run = self.folder + "/<i>run"
        self.writer = subprocess.Popen([VIEW_STORE, self.run, str(iterations or "grow")], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True)
        if iterations:
            assert self.writer.wait() == 0
        else:
            assert self.writer.stdout.readline() == "ready\n"
        self.server = subprocess.Popen([HONE, "view", self.folder, "--listen", "127.0.0.1:0", "--json"],
                                       stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.server.stdout.readline())["listening"]

    def grow(self):
        self.writer.stdin.write("more\n")
        self.writer.stdin.flush()
        assert self.writer.stdout.readline() == "added\n"

    def cpu_seconds(self):
        with open(f"/proc/{self.server.pid}/stat") as stat:
            return sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")

    def get(self, path):
        with urllib.request.urlopen(self.address.rstrip("/") + path) as answer:
            return json.load(answer)

    def end(self):
        self.writer.stdin.close()
        self.writer.wait(20)
        self.server.terminate()
        self.server.wait(20)
        shutil.rmtree(self.folder)


class Browser(unittest.TestCase):
    ITERATIONS = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.ITERATIONS)
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--disable-dev-shm-usage", "--window-size=1360,900"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        from selenium.webdriver.chrome.service import Service
        cls.driver = webdriver.Chrome(service=Service(DRIVER), options=options)
        cls.driver.set_page_load_timeout(60)
        cls.driver.set_script_timeout(60)
        cls.key = cls.server.get("/api/runs")["runs"][0]["key"]

    @classmethod
    def tearDownClass(cls):
        cls.driver.quit()
        cls.server.end()

    def js(self, code, *values):
        return self.driver.execute_script(code, *values)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def until(self, true, what):
        end = time.time() + WAIT_S
        while time.time() < end:
            try:
                found = true()
            except (StaleElementReferenceException, WebDriverException):
                found = None
            if found:
                return found
            time.sleep(0.05)
        self.fail("waited in vain until " + what + "\n" + self.driver.find_element(By.TAG_NAME, "body").text[:2000])

    def open(self, page, **parameters):
        from urllib.parse import urlencode
        fields = urlencode({name: value for name, value in parameters.items()})
        self.driver.get(self.server.address + "#/" + page + ("?" + fields if fields else ""))
        self.settled(page)

    def settled(self, page):
        self.until(lambda: self.js("return document.getElementById('main').dataset.page") == page and
                   self.js("return document.getElementById('main').getAttribute('aria-busy')") == "false",
                   page + " is drawn")

    def text(self):
        return self.driver.find_element(By.ID, "main").text

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def first(self, iteration=2):
        groups = self.server.get(f"/api/groups?run={self.quoted()}&iteration={iteration}")["groups"]
        return groups[0]["id"], groups[0]["cells"][0]["id"]

    def quoted(self):
        from urllib.parse import quote
        return quote(self.key)

    def pages(self):
        group, trajectory = self.first(1)
        yield "runs", {}
        yield "curves", {"runs": self.key}
        yield "groups", {"run": self.key, "i": 1}
        yield "group", {"run": self.key, "id": group}
        yield "trajectory", {"run": self.key, "id": trajectory}
        yield "search", {"run": self.key}
        yield "compare", {"a": self.key, "task": "heldout/1"}
        yield "timeline", {"run": self.key}
        yield "about", {"run": self.key}

    # --- What is promised ---

    def test_every_page_shows_what_it_is_about_and_logs_no_error(self):
        wanted = {"runs": "0.250 → 0.875", "curves": "reward/mean", "groups": "22 groups",
                  "group": "Gold answer", "trajectory": "Thinking", "search": "match", "compare": "p = 0.125",
                  "timeline": "Wall time", "about": "Environment of the last attempt"}
        for page, parameters in self.pages():
            with self.subTest(page):
                self.driver.get_log("browser")
                self.open(page, **parameters)
                self.until(lambda: wanted[page] in self.text(), page + " says " + wanted[page])
                bad = [row for row in self.driver.get_log("browser") if row["level"] == "SEVERE"]
                self.assertEqual(bad, [])
                self.assertNotIn("[object", self.text())
                self.assertIn("Hone", self.driver.title)

    def test_hostile_texts_stay_texts_on_every_page(self):
        for page, parameters in self.pages():
            with self.subTest(page):
                self.open(page, **parameters)
                time.sleep(0.3)
                self.assertIsNone(self.js("return window.hit ?? null"))
                odd = self.js("return [...document.querySelectorAll('#main *')].map((e) => e.localName).filter((n) => "
                              "['script','img','iframe','object','video','base','meta','link','style','math','template',"
                              "'details','b-x','u'].includes(n))")
                self.assertEqual(odd, [])
                wild = self.js("return [...document.querySelectorAll('*')].flatMap((e) => [...e.attributes])"
                               ".filter((a) => a.name.startsWith('on') || a.value.startsWith('javascript:')).length")
                self.assertEqual(wild, 0)

    def test_each_hostile_text_is_shown_as_it_was_written(self):
        groups = self.server.get(f"/api/groups?run={self.quoted()}&iteration=1")["groups"]
        self.assertEqual(len(groups), 22)
        for group in groups:
            self.open("group", run=self.key, id=group["id"])
            seen = self.js("return document.querySelector('#main pre').textContent")
            prompt = self.server.get(f"/api/group?run={self.quoted()}&id={group['id']}")["prompt"]
            if prompt.isprintable():
                self.assertEqual(seen, prompt)
            else:
                self.assertIn("U+202E", seen)
            self.assertIsNone(self.js("return window.hit ?? null"))

    def test_the_browser_itself_would_refuse_markup_and_inline_code(self):
        self.open("runs")
        refused = self.js("try { document.body.innerHTML = '<b>x</b>'; return 'set'; } catch (e) { return e.name; }")
        self.assertEqual(refused, "TypeError")
        self.js("try { const s = document.createElement('img'); s.setAttribute('onerror', 'window.hit=99'); "
                "s.src = 'x:'; document.body.append(s); } catch (e) {}")
        self.js("try { const s = document.createElement('script'); s.text = 'window.hit=98'; "
                "document.body.append(s); } catch (e) {}")
        time.sleep(0.3)
        self.assertIsNone(self.js("return window.hit ?? null"))

    def test_a_page_follows_a_run_that_grows(self):
        self.open("groups", run=self.key)
        self.until(lambda: "live" == self.driver.find_element(By.ID, "live").text, "the stream is open")
        before = self.server.get("/api/runs")["runs"][0]["iterations"]
        self.server.grow()
        self.until(lambda: f"iteration {before + 1}" in self.driver.find_element(By.TAG_NAME, "h1").text, "it follows")
        self.open("curves", runs=self.key, m="reward/mean")
        self.until(lambda: f"at {before + 1}" in self.text(), "the curve ends there")
        self.assertEqual(len(self.all("path.curve")), 1)
        self.until(lambda: "live" == self.driver.find_element(By.ID, "live").text, "the stream is open")
        self.server.grow()
        self.until(lambda: f"at {before + 2}" in self.text(), "the curve goes on")
        # Who looks at an old iteration is not taken away from it.
        self.open("groups", run=self.key, i=2)
        self.until(lambda: "live" == self.driver.find_element(By.ID, "live").text, "the stream is open")
        self.server.grow()
        self.until(lambda: f"2 of {before + 3}" in self.text(), "the slider grows")
        self.assertIn("iteration 2", self.driver.find_element(By.TAG_NAME, "h1").text)

    def test_the_keyboard_goes_everywhere(self):
        self.open("groups", run=self.key, i=2)
        self.press("j")
        self.assertEqual(self.js("return document.activeElement.className"), "prompt")
        first = self.js("return document.activeElement.href")
        self.press("j")
        self.assertNotEqual(self.js("return document.activeElement.href"), first)
        self.press("k")
        self.assertEqual(self.js("return document.activeElement.href"), first)
        self.press(Keys.ARROW_RIGHT)
        self.until(lambda: "iteration 3" in self.driver.find_element(By.TAG_NAME, "h1").text, "the next iteration")
        self.press(Keys.ARROW_LEFT)
        self.until(lambda: "iteration 2" in self.driver.find_element(By.TAG_NAME, "h1").text, "the one before")
        self.press("j")
        self.press(Keys.ENTER)
        self.settled("group")
        self.press("j")
        self.press(Keys.ENTER)
        self.settled("trajectory")
        one = self.driver.current_url
        self.press("j")
        self.until(lambda: "2 of 4 in its group" in self.text(), "the next of its group")
        self.assertNotEqual(self.driver.current_url, one)
        self.press("u")
        self.settled("group")
        self.press("u")
        self.settled("groups")
        self.press("?")
        self.until(lambda: self.js("return document.getElementById('help').open"), "the keys are listed")
        self.press(Keys.ESCAPE)
        self.until(lambda: not self.js("return document.getElementById('help').open"), "they are closed")
        self.press("/")
        self.settled("search")
        self.until(lambda: self.js("return document.activeElement.id") == "search", "the field has the focus")
        self.press("zebra", Keys.ENTER)
        self.until(lambda: "search=zebra" in self.driver.current_url, "the address says so")

    def test_an_address_is_the_whole_state_of_a_page(self):
        self.open("search", run=self.key, search="zebra", filter="outcome = correct", sort="-advantage")
        self.until(lambda: "trajectories match" in self.text(), "rows")
        count = self.server.get(f"/api/rows?run={self.quoted()}&search=zebra&filter=outcome+%3D+correct")["total"]
        self.assertGreater(count, 0)
        self.until(lambda: f"{count} of" in self.text(), "as many as the server says")
        self.assertEqual(self.js("return document.getElementById('filter').value"), "outcome = correct")
        _, trajectory = self.first()
        self.open("trajectory", run=self.key, id=trajectory, channel="entropy", t=60)
        self.until(lambda: self.all(".token.chosen"), "token 60 is chosen")
        self.assertEqual(self.js("return document.querySelector('.token.chosen').dataset.i"), "60")
        self.assertIn("token 60 of", self.driver.find_element(By.ID, "token-facts").text)
        self.driver.get(self.server.address + "#/trajectory?run=nothing&id=x")
        self.until(lambda: "no run" in self.text(), "a run that is not there is named")

    def test_a_filter_that_is_none_says_what_was_expected(self):
        self.open("search", run=self.key, filter="speed > 3")
        self.until(lambda: "expected a field" in self.text(), "the error")

    def test_tokens_are_tinted_by_each_channel_and_tell_their_figures(self):
        group = self.server.get(f"/api/groups?run={self.quoted()}&iteration=3")["groups"]
        group = next(one for one in group if not one["flat"])
        self.open("trajectory", run=self.key, id=group["cells"][0]["id"])
        channels = [option.get_attribute("value") for option in self.all("#main select option") if option.is_enabled()]
        self.assertEqual(channels, ["none", "probability", "entropy", "advantage", "kl"])
        for channel in channels[1:]:
            self.js("const s = document.querySelector('#main select'); s.value = arguments[0]; "
                    "s.dispatchEvent(new Event('change'))", channel)
            tinted = self.js("return [...document.querySelectorAll('.token')].filter((e) => e.style.backgroundColor).length")
            self.assertGreater(tinted, 5, channel)
        box = self.driver.find_element(By.CSS_SELECTOR, ".tokens")
        box.click()
        box.send_keys(Keys.END)
        facts = self.driver.find_element(By.ID, "token-facts").text
        self.assertIn("<eos>", facts)
        self.assertIn("probability", facts)
        heads = [head.text for head in self.all(".line.head")]
        self.assertEqual([head.split(" ·")[0] for head in heads], ["prompt", "thinking", "answer"])

    def test_a_trace_of_32000_tokens_scrolls_and_holds_few_elements(self):
        rows = self.server.get(f"/api/rows?run={self.quoted()}&sort=length&desc=1&limit=1")["rows"]
        self.assertGreater(rows[0]["completion_tokens"], 31000)
        self.open("trajectory", run=self.key, id=rows[0]["id"])
        self.until(lambda: self.all(".token"), "tokens")
        self.js("document.querySelector('.tokens').scrollIntoView()")
        frames = self.driver.execute_async_script("""
            const done = arguments[0], box = document.querySelector('.tokens'), times = [];
            let last = performance.now(), most = 0;
            const step = () => {
              const now = performance.now();
              times.push(now - last);
              last = now;
              most = Math.max(most, document.querySelectorAll('.token').length);
              box.scrollTop += 90;
              if (times.length < 120) requestAnimationFrame(step);
              else done({times: times.slice(5).sort((a, b) => a - b), most, top: box.scrollTop});
            };
            requestAnimationFrame(step);""")
        times = frames["times"]
        print(f"\n32,000 tokens: frame median {times[len(times) // 2]:.1f} ms, 95 % {times[len(times) * 95 // 100]:.1f} ms,"
              f" most tokens in the page {frames['most']}", file=sys.stderr)
        self.assertGreater(frames["top"], 3000)
        # Not the frames' time: this may run on a busy machine without a graphics card. What makes them
        # long is elements, and these are bytes as tokens, some hundred a line.
        self.assertLess(frames["most"], 6000)

    def test_it_can_be_used_without_eyes_or_mouse(self):
        for page, parameters in self.pages():
            with self.subTest(page):
                self.open(page, **parameters)
                self.assertEqual(self.js("return document.querySelectorAll('main, header, nav').length"), 3)
                self.assertEqual(self.js("return document.querySelectorAll('#main h1').length"), 1)
                self.assertEqual(self.js("return document.documentElement.lang"), "en")
                nameless = self.js("""
                    return [...document.querySelectorAll('button, a, input, select, [role=img], [role=group]')].filter((e) =>
                      !(e.getAttribute('aria-label') || e.textContent.trim() || e.title || e.labels?.length)).length""")
                self.assertEqual(nameless, 0)
                self.assertEqual(self.js("return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not([tabindex=\"-1\"])').length"), 0)

    def test_text_keeps_its_contrast_in_light_and_dark_on_every_tint(self):
        for scheme in ("light", "dark"):
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            for page, parameters in self.pages():
                with self.subTest(scheme + " " + page):
                    self.open(page, **parameters)
                    worst = self.js(CONTRAST)
                    self.assertGreaterEqual(worst["ratio"], 4.5, worst)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def test_files_to_keep_are_offered_and_are_what_they_say(self):
        self.open("timeline", run=self.key)
        link = self.js("return document.querySelector('a[download=\"trace.json\"]').getAttribute('href')")
        trace = self.server.get(link)
        self.assertEqual(sum(event["name"] == "rollout" for event in trace["traceEvents"]),
                         self.server.get("/api/runs")["runs"][0]["iterations"])
        self.open("curves", runs=self.key, m="reward/mean,tokens/per_s")
        link = self.js("return document.querySelector('a[download=\"metrics.csv\"]').getAttribute('href')")
        with urllib.request.urlopen(self.server.address.rstrip("/") + link) as answer:
            self.assertIn("attachment", answer.headers["Content-Disposition"])
            lines = answer.read().decode().split("\r\n")
        self.assertEqual(lines[0], 'run,iteration,"reward/mean","tokens/per_s"')
        self.assertEqual(lines[2], f'"{self.key}",2,0.52,1002.0')

    def test_a_small_window_needs_no_scrolling_sideways(self):
        self.driver.set_window_size(700, 900)
        try:
            for page, parameters in self.pages():
                with self.subTest(page):
                    self.open(page, **parameters)
                    wide = self.js("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                    self.assertLessEqual(wide, 0)
        finally:
            self.driver.set_window_size(1360, 900)

    @unittest.skipUnless(SHOTS, "no folder for pictures")
    def test_pictures(self):
        os.makedirs(SHOTS, exist_ok=True)
        for scheme in ("light", "dark"):
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            for page, parameters in self.pages():
                if page in ("groups", "group", "trajectory"):
                    group, trajectory = self.first(2)
                    parameters = {"run": self.key, "i": 2} if page == "groups" else \
                        {"run": self.key, "id": group if page == "group" else trajectory}
                self.open(page, **parameters)
                time.sleep(0.5)
                self.driver.save_screenshot(f"{SHOTS}/{page}_{scheme}.png")
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


class ManyRows(Browser):
    """A hundred thousand trajectories: what the server takes for each page and filter, and a browser for the list."""
    ITERATIONS = 100

    QUESTIONS = {
        "first page": {},
        "by advantage": {"sort": "advantage", "desc": "1"},
        "by length, half of it": {"sort": "length", "filter": "outcome = wrong"},
        "a few": {"filter": "iteration = 57 AND advantage > 0.5"},
        "reward part": {"filter": "reward.accuracy = 0 AND reward.format >= 1", "sort": "reward"},
        "text of ids": {"filter": "task : 99 AND (NOT source = odd OR sample < 3)"},
        "kind": {"filter": 'kind = ""'},
        "rare words": {"search": "Question 7"},
        "common word": {"search": "zebra"},
        "common word, filtered": {"search": "zebra", "filter": "outcome = correct", "sort": "-advantage"},
    }

    def test_every_page_and_filter_of_100000_takes_less_than_100_ms(self):
        from urllib.parse import urlencode
        slow = []
        for name, question in self.QUESTIONS.items():
            fields = {"run": self.key, "limit": 100, **question}
            if fields.get("sort", "").startswith("-"):
                fields["sort"] = fields["sort"][1:]
            after, walls, before, asked = "", [], self.server.cpu_seconds(), 0
            for _ in range(8):
                began = time.perf_counter()
                page = self.server.get("/api/rows?" + urlencode({**fields, "after": after}))
                walls.append(time.perf_counter() - began)
                asked += 1
                after = page["next"]
            cpu = (self.server.cpu_seconds() - before) / asked
            print(f"\n{name}: {page['total']} match; CPU {cpu * 1000:.0f} ms, wall {min(walls) * 1000:.0f} to "
                  f"{max(walls) * 1000:.0f} ms", end="", file=sys.stderr)
            self.assertEqual(page["of"], 100000)
            # CPU time, and the best wall: others may keep this machine busy.
            if cpu >= 0.1 or min(walls) >= 0.1:
                slow.append(name)
        print(file=sys.stderr)
        self.assertEqual(slow, [])

    def test_the_list_follows_as_one_scrolls_and_a_filter_answers(self):
        self.open("search", run=self.key)
        self.until(lambda: "100,000 of 100,000" in self.text(), "all match")
        for pages in (3, 5):
            self.until(lambda: self.js("window.scrollTo(0, document.body.scrollHeight); "
                                       "return document.querySelectorAll('.rows .row').length") >= 100 * pages, "more rows")
        took = self.driver.execute_async_script("""
            const done = arguments[0], field = document.getElementById('filter'), began = performance.now();
            field.value = 'outcome = correct AND advantage > 0.6';
            new MutationObserver(() => done(performance.now() - began))
              .observe(document.querySelector('.rows'), {childList: true});
            field.form.requestSubmit();""")
        print(f"\nfilter to rows in the page: {took:.0f} ms", file=sys.stderr)
        self.assertNotIn("100,000 of 100,000", self.text())
        self.assertLess(took, 1000)


# The tests of the small run are not those of the large one.
for inherited in [name for name in dir(Browser) if name.startswith("test_")]:
    setattr(ManyRows, inherited, None)


# The lowest contrast of any text with what lies behind it, tints laid over one another.
CONTRAST = """
const parse = (text) => {
  const m = text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
  return {r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1};
};
const over = (top, under) => ({r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
                               b: top.b * top.a + under.b * (1 - top.a), a: 1});
const light = ({r, g, b}) => {
  const [x, y, z] = [r, g, b].map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
let worst = {ratio: 99};
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  const style = getComputedStyle(e);
  if (!own || e.closest('svg, dialog:not([open]), .spoken, .skip, noscript, option, :disabled') || style.visibility === 'hidden') continue;
  const layers = [];
  for (let at = e; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  let under = {r: 255, g: 255, b: 255, a: 1};
  for (const layer of layers.reverse()) under = over(layer, under);
  const front = over(parse(style.color), under);
  const [a, b] = [light(front), light(under)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < worst.ratio) worst = {ratio, text: e.textContent.slice(0, 60), tag: e.localName, kind: e.className?.toString()};
}
return worst;
"""

if __name__ == "__main__":
    unittest.main(verbosity=2)
