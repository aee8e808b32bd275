#include "model/formats/model_card.h"

#include <array>

#include "model/io/format.h"

namespace vmla::model {
namespace {

/// Published weights, known by their sizes.
struct BaseModel {
  int64_t dim, ffn_dim, num_heads, num_layers, text_dim;
  std::string_view repository, licence;
};

constexpr std::array<BaseModel, 2> kBaseModels = {{
    {1536, 8960, 12, 30, 4096, "Wan-AI/Wan2.1-T2V-1.3B", "apache-2.0"},
    {5120, 13824, 40, 40, 4096, "Wan-AI/Wan2.1-T2V-14B", "apache-2.0"},
}};

const BaseModel* base_model(const ModelConfig& c) {
  for (const BaseModel& base : kBaseModels) {
    if (base.dim == c.dim && base.ffn_dim == c.ffn_dim && base.num_heads == c.num_heads &&
        base.num_layers == c.num_layers && base.text_dim == c.text_dim) {
      return &base;
    }
  }
  return nullptr;
}

std::string front_matter(const BaseModel* base) {
  std::string text = "---\n";
  if (base) text += formatted("license: {}\nbase_model: {}\n", base->licence, base->repository);
  return text + "pipeline_tag: text-to-video\ntags: [video-generation, vmla]\n---\n\n";
}

std::string licence_lines(const BaseModel* base) {
  if (!base) {
    return "The sizes are those of no published model, so no base weights' licence is named here: "
           "state "
           "your own.\n";
  }
  return formatted(
      "The sizes are those of {}, whose weights are under the licence {} (Apache License 2.0). "
      "What is "
      "derived from them stays under it.\n",
      base->repository,
      base->licence);
}

std::string facts(const ExportSource& source, const std::string& stage, int64_t step) {
  const ModelConfig& c = source.config;
  std::string text =
      formatted("- {} blocks of width {}, {} heads; {}\n",
                c.num_layers,
                c.dim,
                c.num_heads,
                c.is_mla() ? formatted("latent attention: {} numbers a token and layer "
                                       "are cached",
                                       c.kv_lora_rank.at(0) + c.qk_rope_head_dim)
                           : "dense attention");
  if (!source.init_method.empty())
    text += formatted("- latent attention initialised by {}\n", source.init_method);
  if (step >= 0) text += formatted("- stage {}, step {}\n", stage, step);
  if (source.sampling.causal) {
    text += formatted(
        "- chunks of {} latent frames; window {} frames, of them {} at the start of the video (-1: "
        "no "
        "window)\n",
        c.num_frame_per_block,
        c.local_attn_size,
        c.sink_size);
  }
  return text;
}

std::string how_to_open(const ExportFormat& format) {
  if (format.name == "videomla") {
    return R"(## In Python

PyTorch, diffusers and the two files of this folder are enough; nothing is run but what is imported:

```python
import sys, torch
sys.path.insert(0, "FOLDER")
from pipeline_videomla import VideoMLAPipeline

pipeline = VideoMLAPipeline.from_folder("FOLDER").to("cuda")
for latents in pipeline.stream(text_embeddings, frames=81, height=60, width=104):
    ...  # [1, chunk, 16, 60, 104], normalised latents: decode them with the VAE of the base model
```

`text_embeddings` [1, T, text_dim] come from the base model's text encoder.

)";
  }
  if (format.name == "diffusers_causal") {
    return "## To complete the folder\n\nCopy `vae`, `text_encoder` and `tokenizer` from the base "
           "model's "
           "diffusers folder. SGLang needs a package that registers the pipeline's configuration "
           "(`SGLANG_EXTERNAL_MODEL_PACKAGE`).\n\n";
  }
  if (format.name == "lightx2v") {
    return "## With LightX2V\n\nModel class `wan2.1_sf`, configuration `lightx2v.json`; the folder "
           "of the "
           "base model holds VAE and text encoder.\n\n";
  }
  return {};
}

std::string engines(const ExportFormat& format, const ExportSource& source) {
  const auto notes = engine_notes(format.name, source.config, source.sampling);
  if (notes.empty()) return {};
  std::string text =
      "## Engines\n\nUp to how many latent frames an engine computes what the model was trained to "
      "do.\n\n| engine | settings | exact frames | why |\n|---|---|---|---|\n";
  for (const EngineNote& note : notes) {
    std::string fields;
    for (const auto& [name, value] : note.fields)
      fields += formatted("{}`{}` {}", fields.empty() ? "" : ", ", name, value);
    text += formatted("| {} | {} | {} | {} |\n",
                      note.engine,
                      fields,
                      note.exact_frames ? std::to_string(*note.exact_frames) : "any number",
                      note.why);
  }
  return text + "\n";
}

}  // namespace

std::string model_card(const ExportFormat& format,
                       const ExportSource& source,
                       const std::string& stage,
                       int64_t step) {
  const BaseModel* base = base_model(source.config);
  return front_matter(base) +
         formatted("# Video transformer in the layout `{}`\n\nWritten by vmla for {}.\n\n",
                   format.name,
                   format.what) +
         facts(source, stage, step) + "\n" + licence_lines(base) + "\n" + how_to_open(format) +
         engines(format, source) +
         "`export_manifest.json` has the hash of every file and tensor, and which program has "
         "verified them.\n";
}

}  // namespace vmla::model
