"""torchao's PT2E, loaded without what its loading logs. Nothing else here imports torchao."""

from packager.quiet import quiet

with quiet():
    from torchao.quantization.pt2e.fake_quantize import FakeQuantize  # type: ignore[import-untyped]  # it ships no types
    from torchao.quantization.pt2e.observer import (  # type: ignore[import-untyped]  # as above
        MinMaxObserver,
        MovingAverageMinMaxObserver,
        MovingAveragePerChannelMinMaxObserver,
        PerChannelMinMaxObserver,
        UniformQuantizationObserverBase,
    )
    from torchao.quantization.pt2e.quantize_pt2e import (  # type: ignore[import-untyped]  # as above
        convert_pt2e,
        prepare_pt2e,
        prepare_qat_pt2e,
    )
    from torchao.quantization.pt2e.quantizer import (  # type: ignore[import-untyped]  # as above
        QuantizationConfig,
        QuantizationSpec,
        Quantizer,
    )
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (  # type: ignore[import-untyped]  # as above
        QUANT_ANNOTATION_KEY,
        X86InductorQuantizer,
    )
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        _X86InductorQuantizationAnnotation as X86Annotation,
    )

__all__ = [
    "QUANT_ANNOTATION_KEY",
    "FakeQuantize",
    "MinMaxObserver",
    "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver",
    "PerChannelMinMaxObserver",
    "QuantizationConfig",
    "QuantizationSpec",
    "Quantizer",
    "UniformQuantizationObserverBase",
    "X86Annotation",
    "X86InductorQuantizer",
    "convert_pt2e",
    "prepare_pt2e",
    "prepare_qat_pt2e",
]
