"""Instructions that each ask for one thing that a short program can check, in spar's own words.

Where a model writes verification functions (AutoIF) and no file of instructions is given, these are what it writes them for. The
source has 36 instructions of people, which are not used here.
"""

INSTRUCTIONS = (
    "Answer in exactly three sentences.",
    "Use fewer than fifty words.",
    "Use at least one hundred words.",
    "Answer with a single word.",
    "Do not use any commas.",
    "Do not use any digits.",
    "Include at least two numbers written as digits.",
    "Write everything in lower case.",
    "Write everything in capital letters.",
    "Begin every sentence with the same word.",
    'Start with the word "Actually".',
    'End with the sentence "That is all I know."',
    'Mention the word "river" exactly twice.',
    'Never use the word "very".',
    "Answer as a bulleted list with exactly four items, each starting with an asterisk.",
    "Answer as a numbered list with five items.",
    "Put the whole answer in double quotes.",
    "Separate your paragraphs by a line with three asterisks.",
    "Write exactly two paragraphs with a blank line between them.",
    "Answer with a JSON object that has the key 'answer'.",
    "Wrap a title in double angle brackets on the first line.",
    "Highlight at least two phrases by putting them between asterisks.",
    "End with a question.",
    "Use exactly one exclamation mark.",
    "Do not use the letter z.",
    "Every line must be shorter than sixty characters.",
    "Write at least three words that are longer than ten letters.",
    "Use a semicolon in every sentence.",
    'Add a postscript at the end that starts with "P.S.".',
    "Let the first and the last word be the same.",
    "Use parentheses at least twice.",
    "Let each sentence have at most ten words.",
    "Write the answer as a table in Markdown with two columns.",
    'Give two different answers, separated by a line with "OR".',
    "Include an email address.",
    "Use no word more than three times.",
)
