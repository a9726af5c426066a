"""Digital watermarking: saliency, inpainting, and the defense made of both."""
