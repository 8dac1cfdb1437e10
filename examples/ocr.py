"""OCR as a tool: the text of a region, read by RapidOCR on the processor, without a network.

    pip install rapidocr onnxruntime
    deepeyes rollout --plugin examples/ocr.py --env Ocr-v0 --data questions.jsonl

The models are in RapidOCR's wheel.
"""

from functools import cache

from rapidocr import RapidOCR

from deepeyes_env import BBox, Image, register_toolbox, tool

engine = cache(RapidOCR)  # made when it is first needed, once in a process


@tool
def read_text(image: Image, bbox_2d: BBox) -> str:
    """Read the text in a region of the image, line by line."""
    x1, y1, x2, y2 = bbox_2d
    read = engine()(image[y1:y2, x1:x2, ::-1])  # in OpenCV's order of colours
    return "\n".join(read.txts or ["no text found"])


register_toolbox("Ocr-v0", tools=["image_zoom_in_tool", read_text])
