"""What is shown of a tree, as pure functions of its record: text, word diffs, tree lines, node details."""
