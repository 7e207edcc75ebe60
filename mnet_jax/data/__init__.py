"""Images: who has them, what is known of them, how they are decoded, batched (stream) and augmented.

`facts` says what a data set holds before anything is prepared, `registry` knows the names, `sources` prepares them.
Built-in sets: `builders`. Data of one's own: `own`, with `image_folder`, `class_folders`, `stored`, and `arrays`.
"""
