"""The address with the token, where visitors find it: on a page of another site."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

TOKEN = "a token of the lecture"


@pytest.fixture
def course(start_server, small_runs):
    """Return the addresses of the page and of a site that links to it, and what was asked there.

    127.0.0.1 and localhost are different sites.
    """
    page = start_server([small_runs["lstm"]], token=TOKEN).replace("127.0.0.1", "localhost")
    link = f"{page}/?token={TOKEN.replace(' ', '+')}#view=step"
    content = f"""<a id=link href="{link}">the lecture</a>
        <form id=form method=post enctype=text/plain action="{page}/api/session"></form>"""

    class Course(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Course)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield page, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tab(browser):
    context = browser.new_context()
    tab = context.new_page()
    tab.set_default_timeout(90_000)
    yield tab
    context.close()


def test_the_address_opens_the_page_from_another_site_and_again(course, tab):
    _, elsewhere = course
    for _ in range(2):  # the second time with the cookie of the first
        tab.goto(elsewhere)
        tab.click("#link")
        tab.locator("#view[data-view=step] > *").first.wait_for()
        assert TOKEN.replace(" ", "+") not in tab.url
        tab.reload()
        tab.locator("#view[data-view=step] > *").first.wait_for()


def test_another_site_can_use_nothing_of_what_its_visitor_may(course, tab):
    page, elsewhere = course
    tab.goto(elsewhere)
    tab.click("#link")
    tab.locator("#view > *").first.wait_for()
    tab.goto(elsewhere)
    with tab.expect_navigation(), tab.expect_response(f"{page}/api/session") as answer:
        tab.evaluate("document.getElementById('form').submit()")
    assert answer.value.status == 403
    tab.goto(elsewhere)
    asked = """async ([page, options]) => {
        try { return (await fetch(page + options.path, options)).status } catch { return "refused" }
    }"""
    for options in (
        {"path": "/api/session", "method": "POST", "credentials": "include"},
        {"path": "/api/runs", "credentials": "include"},
    ):
        assert tab.evaluate(asked, [page, options]) == "refused"
    shown = """page => new Promise(done => {
        const image = new Image();
        image.onload = () => done("shown");
        image.onerror = () => done("refused");
        image.src = page + "/static/icon.svg";
    })"""
    assert tab.evaluate(shown, page) == "refused"
