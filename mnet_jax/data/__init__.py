"""Images: who has them, what is known of them, how they are decoded, batched (stream) and augmented.

`registry` knows the names, `facts` says what a data set holds before anything is prepared, `sources` prepares it,
`checks` looks whether it has what a config asks for. Built-in sets: `builders`, `scenes`. Data of one's own: `own`,
with `image_folder`, `class_folders`, `class_file`, `image_file`, `split_folders`, `stored`, and `arrays`; their
prepared copies: `copies`. What EXIF says: `orientation`. A class for each pixel: `masks`, `mask_folder`, `mask_files`,
`pairs`.
"""
