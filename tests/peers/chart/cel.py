"""Carries out the JSON patches of a MutatingAdmissionPolicy, as far as those of the chart go.

The grammar is that of a real CEL parser; the few operations here stand in for an API server, which no package carries.
"""

import celpy
from celpy.celparser import CELParser

PATCH = "JSONPatch"


def patched(expression, pod):
    """`pod` with the patches that `expression` gives for it; every step must be possible as it is written."""
    for patch in Evaluation(pod).value(CELParser().parse(expression)):
        assert patch["op"] == "add", patch
        *folders, last = [part.replace("~1", "/").replace("~0", "~") for part in patch["path"].split("/")[1:]]
        place = pod
        for folder in folders:
            place = place[folder]
        if isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), patch["value"])
        else:
            place[last] = patch["value"]
    return pod


class Evaluation:
    """Of one expression, with `object` as the one variable."""

    def __init__(self, subject):
        self.subject = subject

    def value(self, tree):
        children = tree.children
        match tree.data:
            case "expr" if len(children) == 3:
                condition, yes, no = children
                return self.value(yes if self.value(condition) else no)
            case "addition" if len(children) == 2:
                return self.value(children[0].children[0]) + self.value(children[1])
            case "ident_arg":
                assert children[0] == "has", children
                return self.has(children[1])
            case "ident":
                assert children[0] == "object", children
                return self.subject
            case "member_dot":
                return self.value(children[0])[str(children[1])]
            case "member_dot_arg":
                assert children[1] == "escapeKey", children
                return self.value(children[2].children[0]).replace("~", "~0").replace("/", "~1")
            case "member_object":
                return self.object(*children)
            case "list_lit":
                return [self.value(item) for item in (children[0].children if children else [])]
            case "map_lit":
                pairs = children[0].children if children else []
                return {self.value(key): self.value(value) for key, value in zip(pairs[::2], pairs[1::2], strict=True)}
            case "literal":
                return self.literal(children[0])
            case _:
                (only,) = children
                return self.value(only)

    def has(self, arguments):
        member = next(tree for tree in arguments.iter_subtrees_topdown() if tree.data == "member_dot")
        return str(member.children[1]) in self.value(member.children[0])

    def object(self, name, fields=None):
        """Members of a structure; its type must be the one that stands at its place, or the API server refuses it."""
        name = ".".join(str(token) for token in name.scan_values(lambda _: True))
        members = {}
        fields = fields.children if fields else []
        for field, value in zip(fields[::2], fields[1::2], strict=True):
            members[str(field)] = self.value(value)
            if name == PATCH:
                continue
            for inner in value.iter_subtrees():
                if inner.data == "member_object":
                    of = ".".join(str(token) for token in inner.children[0].scan_values(lambda _: True))
                    assert of == f"{name}.{field}" or of.startswith(f"{name}.{field}."), (of, name, str(field))
        return members

    @staticmethod
    def literal(token):
        value = celpy.Evaluator(ast=CELParser().parse(token), activation=celpy.Activation()).evaluate()
        return {celpy.celtypes.BoolType: bool, celpy.celtypes.IntType: int}.get(type(value), str)(value)
