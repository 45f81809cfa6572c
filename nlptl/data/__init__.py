"""Data in: any input becomes checked :class:`~nlptl.data.sources.Examples`.

sources    ``read``, ``split``, ``shared_rows``: what the rooms above call
words      the one word splitter, the same for every backbone
spans      BIO, IOB1, BIOES and BILOU tags, and the spans they stand for
windows    how a text longer than the model's window is cut, and who answers for each word
demo       the bundled sets
"""
