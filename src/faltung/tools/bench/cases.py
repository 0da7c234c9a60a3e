"""The layers that are timed: real ones, each under a short name, in their one spelling.

`dw` is depthwise, `T` transposed, `s` stride, `d` dilation, `g` groups. All are float32, batch 1,
without bias: what a network runs for one picture or one recording. Those with a residual are the
end of a block: what the block began with is added, and most activate the sum. Adding a case is a
line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...errors import ArgumentError
from ...ops.conv.spec import TASKS, ConvSpec

FAMILIES = ("depthwise", "grouped", "image", "1-d", "dense", "transposed", "overhead")
"""`grouped` holds what has few channels to sum over: groups, and the first layers of networks."""


@dataclass(frozen=True)
class Case:
    """One problem to time: its family, its name, its spelling, and the network it is from."""

    family: str
    name: str
    problem: str
    network: str

    @property
    def spec(self) -> ConvSpec:
        """The problem; raises `ArgumentError` for one that is not timed."""
        spec = ConvSpec.parse(self.problem)
        for bad, what in (
            (spec.task == "grad_weight", "forward and grad_input (transposed convolution)"),
            (spec.device != "cpu", "the CPU"),
            (spec.padding_mode != "zeros", "zero padding"),
            (_is_activated(spec), "no activation but relu, behind a residual"),
            (spec.residual_apart, "a residual that lies as the result does"),
            (spec.layout != "contiguous", "every memory layout by itself: leave the word out"),
            (spec.output_size != spec.full_output_size, "outputs of the formula's size"),
            (spec.task == "grad_input" and _is_uneven(spec), "transposed with equal padding"),
            (spec.dtype not in ("float32", "float64"), "float32 and float64"),
        ):
            if bad:
                raise ArgumentError(f"bench times {what}, not {spec}")
        return spec


def selected(words: Sequence[str]) -> list[Case]:
    """The cases that the words ask for: a family, a part of names, a problem, or none for all.

    >>> [case.name for case in selected(["resnext", "g32", "256", "28"])]
    ['resnext g32 256 28']
    >>> selected("forward n1 c4 o4 i9 k3 float32 cpu".split())[0].family
    'problem'
    """
    text = " ".join(words)
    if not text:
        return list(CASES)
    if text.split()[0] in TASKS:
        return [Case("problem", text, text, "")]
    if text in FAMILIES:
        return [case for case in CASES if case.family == text]
    found = [case for case in CASES if text.lower() in case.name.lower()]
    if not found:
        raise ArgumentError(
            f"{text!r} is no family ({', '.join(FAMILIES)}), no spelled problem, and in the name "
            "of no case"
        )
    return found


def _is_activated(spec: ConvSpec) -> bool:
    return spec.activation is not None and not (spec.residual and spec.activation == "relu")


def _is_uneven(spec: ConvSpec) -> bool:
    return any(low != high for low, high in spec.padding)


_ALL = {
    "depthwise": (
        ("mbv2 dw3x3 144 56", "c144 o144 i56x56 k3x3 p1 g144", "MobileNetV2"),
        ("mbv2 dw3x3s2 144 56", "c144 o144 i56x56 k3x3 s2 p1 g144", "MobileNetV2"),
        ("effnet dw5x5 240 28", "c240 o240 i28x28 k5x5 p2 g240", "EfficientNet-B0"),
        ("convnext dw7x7 96 56", "c96 o96 i56x56 k7x7 p3 g96", "ConvNeXt-T, stage 1"),
        ("convnext dw7x7 384 14", "c384 o384 i14x14 k7x7 p3 g384", "ConvNeXt-T, stage 3"),
        ("replknet dw13x13 1024 7", "c1024 o1024 i7x7 k13x13 p6 g1024", "RepLKNet-31B, stage 4"),
        ("replknet dw31x31 128 56", "c128 o128 i56x56 k31x31 p15 g128", "RepLKNet-31B, stage 1"),
        ("slak dw51x5 96 56", "c96 o96 i56x56 k51x5 p25x2 g96", "SLaK-T, stage 1"),
        ("van dw7x7d3 64 56", "c64 o64 i56x56 k7x7 p9 d3 g64", "VAN-B1, stage 1"),
        ("mamba dw1d k4 1536 L2048", "c1536 o1536 i2048 k4 p3 g1536", "Mamba-130M"),
        ("hyena dw1d k2048 64 L4096", "c64 o64 i4096 k2048 p2047 g64", "Hyena, long filter"),
        ("dw3d 7^3 32 32^3", "c32 o32 i32x32x32 k7x7x7 p3 g32", "3-D large-kernel segmentation"),
        # ten and more of other networks, sizes and shapes
        ("mbv1 dw3x3 32 112", "c32 o32 i112x112 k3x3 p1 g32", "MobileNetV1, first depthwise"),
        ("mbv3 dw5x5s2 72 56", "c72 o72 i56x56 k5x5 s2 p2 g72", "MobileNetV3-Large, block 4"),
        ("mbv3 dw5x5 960 7", "c960 o960 i7x7 k5x5 p2 g960", "MobileNetV3-Large, last blocks"),
        ("effnet dw3x3s2 96 112", "c96 o96 i112x112 k3x3 s2 p1 g96", "EfficientNet-B0, stage 3"),
        ("effnet dw5x5 672 14", "c672 o672 i14x14 k5x5 p2 g672", "EfficientNet-B0, stage 6"),
        ("convnext dw7x7 192 28", "c192 o192 i28x28 k7x7 p3 g192", "ConvNeXt-T, stage 2"),
        ("convnext dw7x7 768 7", "c768 o768 i7x7 k7x7 p3 g768", "ConvNeXt-T, stage 4"),
        ("replknet dw29x29 256 28", "c256 o256 i28x28 k29x29 p14 g256", "RepLKNet-31B, stage 2"),
        ("replknet dw27x27 512 14", "c512 o512 i14x14 k27x27 p13 g512", "RepLKNet-31B, stage 3"),
        ("x3d dw3x3x3 54 16x56", "c54 o54 i16x56x56 k3x3x3 p1 g54", "X3D-M, res2"),
        ("mamba dw1d k4 5120 L512", "c5120 o5120 i512 k4 p3 g5120", "Mamba-2.8B"),
        ("conformer dw1d k31 256", "c256 o256 i1000 k31 p15 g256", "Conformer, 40 s of speech"),
        ("tasnet dw1d d128 512", "c512 o512 i3199 k3 p128 d128 g512", "Conv-TasNet, last dilation"),
    ),
    "grouped": (
        ("resnext g32 128 56", "c128 o128 i56x56 k3x3 p1 g32", "ResNeXt-50 32x4d, stage 2"),
        ("shufflenet 1x1 g3 240 28", "c240 o240 i28x28 k1x1 g3", "ShuffleNet, 3 groups"),
        ("resnet stem 7x7s2", "c3 o64 i224x224 k7x7 s2 p3", "ResNet"),
        ("convnext stem 4x4s4", "c3 o96 i224x224 k4x4 s4", "ConvNeXt-T"),
        # ten and more of other networks, group widths and first layers
        ("resnext g32 s2 256 56", "c256 o256 i56x56 k3x3 s2 p1 g32", "ResNeXt-50, into stage 3"),
        ("resnext g32 256 28", "c256 o256 i28x28 k3x3 p1 g32", "ResNeXt-50 32x4d, stage 3"),
        ("resnext g32 512 14", "c512 o512 i14x14 k3x3 p1 g32", "ResNeXt-50 32x4d, stage 4"),
        ("regnet w16 160 14", "c160 o160 i14x14 k3x3 p1 g10", "RegNetX-400MF, stage 3"),
        ("regnet w48 432 14", "c432 o432 i14x14 k3x3 p1 g9", "RegNetX-3.2GF, stage 3"),
        ("mbv2 stem 3x3s2", "c3 o32 i224x224 k3x3 s2 p1", "MobileNetV2, RegNet"),
        ("alexnet stem 11x11s4", "c3 o64 i224x224 k11x11 s4 p2", "AlexNet"),
        ("vit patch 16x16s16", "c3 o768 i224x224 k16x16 s16", "ViT-B/16, patch embedding"),
        ("yolo stem 6x6s2 640", "c3 o32 i640x640 k6x6 s2 p2", "YOLOv5s"),
        ("wav2vec stem k10s5", "c1 o512 i16000 k10 s5", "wav2vec 2.0, first layer, 1 s"),
        ("unet3d stem 1->32 64^3", "c1 o32 i64x64x64 k3x3x3 p1", "3-D U-Net, one modality"),
        ("r3d stem 3x7x7", "c3 o64 i16x112x112 k3x7x7 s1x2x2 p1x3x3", "R3D-18, video"),
    ),
    "image": (
        ("image 1ch 31x31 1024", "c1 o1 i1024x1024 k31x31 p15", "one blur of a grey image"),
        ("image gauss 5x5 1080p", "c3 o3 i1080x1920 k5x5 p2 g3", "Gaussian blur, colour"),
        ("image sobel 3x3 1080p", "c1 o2 i1080x1920 k3x3 p1", "both Sobel filters, grey"),
    ),
    "1-d": (
        ("wav2vec conv1d 512 k3s2 L8000", "c512 o512 i8000 k3 s2", "wav2vec 2.0, second layer"),
        ("tcn conv1d d8 64 k3 L16000", "c64 o64 i16000 k3 p16 d8", "TCN"),
    ),
    "dense": (
        ("resnet50 3x3 64 56", "c64 o64 i56x56 k3x3 p1", "ResNet-50, stage 2"),
        ("resnet50 3x3 256 14", "c256 o256 i14x14 k3x3 p1", "ResNet-50, stage 4"),
        ("resnet50 3x3 512 7", "c512 o512 i7x7 k3x3 p1", "ResNet-50, stage 5"),
        ("vgg 3x3 64 224", "c64 o64 i224x224 k3x3 p1", "VGG-16, second layer"),
        ("resnet 3x3 s2 128 56", "c128 o128 i56x56 k3x3 s2 p1", "ResNet-50, into stage 3"),
        ("1x1 256->64 56", "c256 o64 i56x56 k1x1", "ResNet-50, stage 2"),
        ("1x1 1024->256 14", "c1024 o256 i14x14 k1x1", "ResNet-50, stage 4"),
        ("deeplab aspp d12 512->256 33", "c512 o256 i33x33 k3x3 p12 d12", "DeepLab, ASPP"),
        ("drn 3x3d2 256 28", "c256 o256 i28x28 k3x3 p2 d2", "DRN"),
        ("dense 15x15 32 128", "c32 o32 i128x128 k15x15 p7", "large kernel over all channels"),
        ("unet3d 3^3 32 32^3", "c32 o32 i32x32x32 k3x3x3 p1", "3-D U-Net"),
        # the last layers of blocks
        ("1x1 64->256 56 residual", "c64 o256 i56x56 k1x1 relu residual", "ResNet-50, stage 2"),
        ("1x1 256->1024 14 residual", "c256 o1024 i14x14 k1x1 relu residual", "ResNet-50, stage 4"),
        ("resnet18 3x3 64 56 residual", "c64 o64 i56x56 k3x3 p1 relu residual", "ResNet-18"),
        ("1x1 960->160 7 residual", "c960 o160 i7x7 k1x1 residual", "MobileNetV2, last blocks"),
    ),
    "transposed": (
        ("dcgan T4x4s2 256->128 16", "c128 o256 i32x32 k4x4 s2 p1", "DCGAN"),
        ("unet T2x2s2 128->64 56", "c64 o128 i112x112 k2x2 s2", "U-Net"),
        ("fcn dwT4x4s2 64 28", "c64 o64 i56x56 k4x4 s2 p1 g64", "FCN, bilinear up ×2"),
        ("dcgan T4x4s2 64->3 32", "c3 o64 i64x64 k4x4 s2 p1", "DCGAN, last layer"),
        ("gan T4x4s2 512->512 32", "c512 o512 i64x64 k4x4 s2 p1", "decoders of autoencoders"),
        ("srgan T3x3s2 128->64 56", "c64 o128 i112x112 k3x3 s2 p1", "CycleGAN, output padding 1"),
        ("mask rcnn T2x2s2 256 14", "c256 o256 i28x28 k2x2 s2", "Mask R-CNN, mask head"),
        ("fcn dwT16x16s8 21 34", "c21 o21 i272x272 k16x16 s8 p4 g21", "FCN-8s, bilinear up ×8"),
        ("unet3d T2x2x2s2 128->64 16^3", "c64 o128 i32x32x32 k2x2x2 s2", "3-D U-Net"),
        ("hifigan T1d 512->256 k16s8 L200", "c256 o512 i1600 k16 s8 p4", "HiFi-GAN"),
        ("hifigan T1d 64->32 k4s2 L12800", "c32 o64 i25600 k4 s2 p1", "HiFi-GAN, last stage"),
        ("encodec T1d 256->128 k10s5 L1200", "c128 o256 i6000 k10 s5 p2", "EnCodec, decoder"),
        ("encodec T1d 128->64 k8s4 L6000", "c64 o128 i24000 k8 s4 p2", "EnCodec, decoder"),
        ("istft T1d 1026->1 k1024s256", "c1 o1026 i58112 k1024 s256", "inverse STFT of 224 frames"),
    ),
    # so small that only the call itself takes time
    "overhead": (
        ("call dense 4 6", "c4 o4 i6x6 k3x3", "the smallest call"),
        ("call dw 4 6", "c4 o4 i6x6 k3x3 g4", "the smallest depthwise call"),
    ),
}  # fmt: skip


def _cases() -> Iterator[Case]:
    for family, rows in _ALL.items():
        task = "grad_input" if family == "transposed" else "forward"
        for name, problem, network in rows:
            case = Case(family, name, f"{task} n1 {problem} float32 cpu", network)
            yield replace(case, problem=str(case.spec))


CASES = tuple(_cases())
"""Every case, family by family."""
