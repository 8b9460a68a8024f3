"""Which nodes of a run are at work, and what of them is still to be saved."""

from kedro.pipeline.node import Node


class Unsaved:
    """The outputs that nodes have yet to save, by node; told by Kedro's hooks."""

    def __init__(self) -> None:
        """Nothing is at work."""
        self.outputs: dict[str, set[str]] = {}

    def expect(self, node: Node) -> None:
        """The node is to save all its outputs."""
        self.outputs[node.name] = set(node.outputs)

    def saved(self, dataset: str, node: Node) -> bool:
        """Notes that one is saved; whether it was the node's last, with which the node is done."""
        left = self.outputs.get(node.name, set())
        left.discard(dataset)
        if not left:
            self.outputs.pop(node.name, None)
        return not left
