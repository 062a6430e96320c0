"""What tests of the server share: a question, and what a model that is served has recorded."""

import base64
import json

import torch

__all__ = ["ask", "caption", "post", "written"]


def post(client, path, question):
    """Return the answer to a question, whose texts may hold halves of surrogate pairs."""
    headers = {"Content-Type": "application/json"}
    return client.post(f"/api/{path}", content=json.dumps(question), headers=headers)


def ask(client, path, status=200, **question):
    """Return what a question is answered, with the status that is expected."""
    answer = post(client, path, question)
    assert answer.status_code == status, answer.text
    return answer.json()


def written(client, **question):
    """Return the lines of a text that is written."""
    answer = post(client, "generate", question)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def caption(client, run, content, **question):
    """Return the answer to a picture or a recording."""
    data = base64.b64encode(content).decode()
    return post(client, "caption", {"run": run, "data": data} | question)


def bytes_of_map(answer, num_units):
    """Return the bytes of a heat map, (T, H), float64."""
    data = torch.frombuffer(bytearray(base64.b64decode(answer["data"])), dtype=torch.uint8)
    return data.double().reshape(-1, num_units)
