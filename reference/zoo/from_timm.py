"""Models of timm, as small as their constructors allow."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import experiments.data.vision  # noqa: F401  # makes torchvision, which timm imports, importable
from reference.zoo.entry import Entry, Subject, normal, thin

__all__ = ["entries"]

# The models that are tried if none is named: small ones of each file of timm's.
USUAL = """
    beit_base_patch16_224 beitv2_base_patch16_224 botnet26t_256 eca_botnext26ts_256 halonet26t haloregnetz_b
    lambda_resnet26t sebotnet33ts_256 bat_resnext26ts gcresnext26ts mobileone_s0 regnetz_b16 repvgg_a0 seresnet33ts
    cait_xxs24_224 coat_lite_tiny coat_tiny convit_tiny convmixer_768_32 convnext_atto convnextv2_atto
    convnext_zepto_rms cpubone_nano crossvit_tiny_240 crossvit_9_dagger_240 csatv2 cs3darknet_s cspresnet50 cspnext_tiny
    darknet17 davit_tiny deit_tiny_patch16_224 deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121
    densenetblur121d dla34 dla46x_c dla60_res2net dpn48b dpn68 edgenext_xx_small efficientformer_l1
    efficientformerv2_s0 efficientnet_b0 mixnet_s mnasnet_small mobilenetv2_035 efficientnetv2_rw_t efficientvim_m1
    efficientvit_b0 efficientvit_l1 efficientvit_m0 eva02_tiny_patch14_224 vit_small_patch16_rope_224
    vit_small_patch16_dinov3 fasternet_t0 fastvit_t8 fastvit_sa12 focalnet_tiny_srf gcvit_xxtiny ghostnet_050
    ghostnetv2_100 ghostnetv3_050 hardcorenas_a hgnet_tiny hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny hrnet_w18_small
    iformer_t inception_next_atto inception_v3 inception_v4 inception_resnet_v2 lcnetv2_small levit_128s levit_conv_128s
    lowformer_b0 mambaout_femto coatnet_pico_rw_224 maxvit_pico_rw_256 maxxvit_rmlp_nano_rw_256 poolformer_s12
    caformer_s18 convformer_s18 poolformerv2_s12 mixer_s32_224 gmixer_12_224 gmlp_ti16_224 resmlp_12_224
    mobilenetv3_small_050 lcnet_035 fbnetv3_b tinynet_e mobilenetv4_conv_small mobilenetv4_hybrid_medium mobilevit_xxs
    mobilevitv2_050 mvitv2_tiny naflexvit_base_patch16_gap nest_tiny nextvit_small dm_nfnet_f0 nf_regnet_b0
    nf_ecaresnet26 nfnet_l0 pit_ti_224 pit_ti_distilled_224 pvt_v2_b0 pvt_v2_b2_li rdnet_tiny regnetx_002 regnety_002
    regnetv_040 regnetz_005 repghostnet_050 repvit_m0_9 res2net50_14w_8s res2next50 resnest14d resnet10t resnet14t
    seresnet18 ecaresnet26t resnetv2_18 resnetv2_50d_evos resnetv2_50x1_bit rexnet_100 rexnetr_100 selecsls42
    legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224
    swin_s3_tiny_224 swinv2_tiny_window8_256 swinv2_cr_tiny_ns_224 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m
    twins_pcpvt_small twins_svt_small vgg11_bn visformer_tiny vit_tiny_patch16_224 vit_relpos_small_patch16_224
    vit_srelpos_small_patch16_224 flexivit_small vit_small_patch14_reg4_dinov2 vit_small_r26_s32_224
    samvit_base_patch16_224 vitamin_small_224 volo_d1_224 ese_vovnet19b_slim_dw eca_vovnet39b legacy_xception
    xception41 xcit_nano_12_p16_224
""".split()


def entries() -> list[Entry]:
    """Lists all models that timm knows.

    Raises:
        ModuleNotFoundError: if timm is not installed.
    """
    import timm

    return [
        Entry(f"timm.{name}", partial(_subject, name), usual=name in USUAL) for name in sorted(timm.list_models())
    ]


def _subject(name: str) -> Subject:
    """Builds a model for the shortest images that it takes, with fewer layers if it runs so."""
    import timm

    _, height, _ = timm.get_pretrained_cfg(name, allow_unregistered=True).to_dict()["input_size"] or (3, 224, 224)
    problem: Exception | None = None
    for side in dict.fromkeys((64, 128, height)):
        x = normal(2, 3, side, side)
        options: dict[str, Any]
        for options, change in (({"img_size": side}, thin), ({}, thin), ({}, _same)):
            try:
                model = change(timm.create_model(name, num_classes=10, **options))
                with torch.no_grad():
                    model.eval()(x.to(next(model.parameters())))
                return Subject(model, (x,))
            except Exception as error:  # whatever a model says that does not take this size
                problem = error
    assert problem is not None
    raise problem


def _same(model: torch.nn.Module) -> torch.nn.Module:
    return model
