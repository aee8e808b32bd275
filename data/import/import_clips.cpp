#include "data/import/import_clips.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "model/codec/latent_scale.h"
#include "model/codec/umt5_text_encoder.h"
#include "model/io/format.h"

namespace vmla::data {
namespace {

/// The row's latents as a clip without a caption. Nothing where its numbers are not finite.
std::optional<EncodedClip> clip_of(const SourceRow& row,
                                   const ImportOptions& options,
                                   at::Tensor latents_SFCHW,
                                   const OdeStates& states) {
  if (!at::isfinite(latents_SFCHW).all().item<bool>()) return std::nullopt;
  if (options.normalize) latents_SFCHW = model::normalised_latents(latents_SFCHW);
  EncodedClip clip;
  clip.record.source_file = row.file;
  clip.record.first_frame = row.number;
  set_latents(clip, latents_SFCHW[-1]);
  if (!states.times.empty()) {
    const at::Tensor kept = latents_SFCHW.index_select(0, at::tensor(states.kept, at::kLong))
                                .to(options.ode_fp32 ? at::kFloat : at::kBFloat16)
                                .contiguous();
    const auto* const bytes = static_cast<const std::byte*>(kept.const_data_ptr());
    clip.ode.assign(bytes, bytes + kept.nbytes());
  }
  return clip;
}

/// The embedding of a row's caption: the stored one, `computed`, or one that is made now because
/// the stored one has another width. Or why there is none.
std::variant<at::Tensor, std::string> text_of(const SourceRow& row,
                                              const std::optional<at::Tensor>& stored,
                                              const at::Tensor& computed,
                                              const CaptionTexts& texts) {
  if (stored && stored->size(1) == texts.width) return *stored;
  if (computed.defined()) return computed;
  if (row.caption && texts.encoder) return texts.encoder->encode(*row.caption);
  return formatted("its text embedding is {} numbers wide, the text encoder's {}, and {}",
                   stored ? stored->size(1) : 0,
                   texts.width,
                   row.caption ? "embedding its caption needs --text-weights and --tokenizer"
                               : "it has no caption");
}

}  // namespace

CaptionTexts make_caption_texts(const ImportOptions& options,
                                const LatentSource& source,
                                LatentInfo& info) {
  const bool all_stored = std::ranges::all_of(
      source.rows(), [](const SourceRow& row) { return row.has_text || !row.fault.empty(); });
  const bool any_stored = std::ranges::any_of(source.rows(), &SourceRow::has_text);
  if (all_stored && any_stored && model::text_encoder_has_weights(options.text) &&
      options.text_options.weights.empty()) {
    info.text_encoder = options.text;
    info.text_dim = model::Umt5TextEncoder::kUsualDim;
    return {.encoder = nullptr, .width = info.text_dim};
  }
  CaptionTexts texts{.encoder = model::make_text_encoder(options.text, options.text_options)};
  texts.width = texts.encoder->text_dim();
  set_text_encoder(info, *texts.encoder);
  if (any_stored) info.text_encoder_hash.clear();
  return texts;
}

std::vector<at::Tensor> computed_texts(const LatentSource& source,
                                       const CaptionTexts& texts,
                                       size_t first,
                                       size_t end) {
  std::vector<at::Tensor> embeddings(end - first);
  std::vector<std::string> captions;
  std::vector<size_t> places;
  for (size_t i = first; i < end; ++i) {
    if (source.rows()[i].has_text) continue;
    captions.push_back(source.rows()[i].caption.value_or(""));
    places.push_back(i - first);
  }
  if (!texts.encoder || captions.empty()) return embeddings;
  const std::vector<at::Tensor> made = texts.encoder->encode_all(captions);
  for (size_t i = 0; i < places.size(); ++i) embeddings[places[i]] = made[i];
  return embeddings;
}

std::variant<EncodedClip, std::string> import_clip(size_t row,
                                                   const ImportOptions& options,
                                                   LatentSource& source,
                                                   const OdeStates& states,
                                                   const CaptionTexts& texts,
                                                   const at::Tensor& computed) {
  const SourceRow& said = source.rows()[row];
  if (!said.fault.empty()) return said.fault;
  auto stored = source.read(row);
  if (const auto* const fault = std::get_if<std::string>(&stored)) return *fault;
  auto& content = std::get<SourceClip>(stored);
  const auto text = text_of(said, content.text, computed, texts);
  if (const auto* const fault = std::get_if<std::string>(&text)) return *fault;
  auto clip = clip_of(said, options, std::move(content.latents), states);
  if (!clip) return "holds NaN or infinity";
  const at::Tensor rows_TE = std::get<at::Tensor>(text).to(at::kFloat).contiguous();
  const float* const values = rows_TE.const_data_ptr<float>();
  set_caption(*clip, said.caption.value_or(""), {values, values + rows_TE.numel()}, texts.width);
  return std::move(*clip);
}

}  // namespace vmla::data
