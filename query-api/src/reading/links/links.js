// A mailed link only shows this page; what it stands for happens when somebody presses the button, so that programs that
// look at the links in a mail set nothing off.
"use strict";

const WAYS = {
  "verify-email": { heading: "Verify your address", button: "Verify", route: "/v1/email-verifications/", done: "Your address is verified." },
  "confirm-email": { heading: "Take your new address", button: "Confirm", route: "/v1/email-changes/", done: "Your new address is confirmed." },
  "reset-password": { heading: "Set a new password", button: "Set password", route: "/v1/password-resets/", done: "Your new password is set. Log in with it.", password: true },
};

const [, kind, token] = location.pathname.split("/");
const way = WAYS[kind];
const element = (id) => document.getElementById(id);
const tell = (text) => { element("outcome").textContent = text; };

element("heading").textContent = way.heading;
element("button").textContent = way.button;
element("password-field").hidden = !way.password;
element("password").required = Boolean(way.password);
element("form").hidden = false;

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  element("button").disabled = true;
  tell("…");
  const request = { method: "PUT", credentials: "omit" };
  if (way.password) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify({ password: element("password").value });
  }
  try {
    const answer = await fetch(way.route + encodeURIComponent(token), request);
    if (answer.ok) {
      element("form").hidden = true;
      tell(way.done);
      return;
    }
    const problem = await answer.json();
    tell(problem.detail ?? "That did not work.");
  } catch {
    tell("The server cannot be reached: try again a little later.");
  }
  element("button").disabled = false;
});
