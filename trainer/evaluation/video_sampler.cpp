#include "trainer/evaluation/video_sampler.h"

#include "kernels/counter_rng/counter_rng.h"
#include "kernels/device_streams.h"
#include "kernels/host_transfer.h"
#include "model/sampling/rollout.h"
#include "trainer/evaluation/beside_work.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>

namespace vmla::trainer {
namespace {

/// Texts of a batch as one tensor, shorter ones zero-padded at the end: [B, T, E].
at::Tensor batch_texts(const model::TextEncoder& encoder,
                       const std::vector<VideoPrompt>& prompts,
                       size_t begin,
                       size_t end) {
  std::vector<at::Tensor> texts;
  int64_t rows = 0;
  for (size_t i = begin; i < end; ++i) {
    texts.push_back(encoder.encode(prompts[i].text));
    rows = std::max(rows, texts.back().size(0));
  }
  for (at::Tensor& text : texts) text = at::constant_pad_nd(text, {0, 0, 0, rows - text.size(0)});
  return at::stack(texts);
}

/// Noise of one latent frame for the prompts of a batch: [B, C, H, W], fp32. Its address is the
/// video's seed, its place in the list, the frame and the number of the draw (docs/algorithms.md
/// 12.2), so that a longer video begins as the shorter one.
at::Tensor frame_noise(const std::vector<VideoPrompt>& prompts,
                       size_t begin,
                       size_t end,
                       kernels::Purpose purpose,
                       int64_t frame,
                       int64_t draw,
                       const ClipShape& clip) {
  std::vector<at::Tensor> noise;
  for (size_t i = begin; i < end; ++i) {
    noise.push_back(kernels::normal({.seed = prompts[i].seed,
                                     .step = static_cast<uint64_t>(frame),
                                     .purpose = purpose,
                                     .role = prompts[i].place,
                                     .sample = static_cast<uint64_t>(draw)},
                                    {clip.channels, clip.height, clip.width}));
  }
  return at::stack(noise);
}

}  // namespace

VideoSampler::VideoSampler(const MediaInfo& media,
                           const model::TextEncoderOptions& text,
                           bool bidirectional,
                           std::shared_ptr<const model::VideoCodec> decoder)
    : media_(media),
      bidirectional_(bidirectional),
      geometry_(model::codec_geometry(media.codec)),
      decoder_(std::move(decoder)),
      text_encoder_(open_text_encoder(media, text)) {}

int64_t VideoSampler::latent_frames_for(const model::ModelConfig& config,
                                        int64_t pixel_frames) const {
  // The codec's relation between latent and video frames is its own, so chunks are added until they
  // suffice.
  int64_t frames = config.independent_first_frame && !bidirectional_ ? 1 : 0;
  while (geometry_.pixel_frames(std::max<int64_t>(frames, 1)) < pixel_frames || frames == 0) {
    frames += bidirectional_ ? 1 : config.num_frame_per_block;
  }
  return frames;
}

model::RolloutRequest VideoSampler::rollout_of(const Request& request,
                                               size_t begin,
                                               size_t end) const {
  const at::Device device = request.device;
  // A batch switches its prompts at one frame, so prompts over time are for batches of one.
  std::vector<model::PromptChange> changes;
  for (const LaterPrompt& later : request.prompts[begin].later) {
    TORCH_CHECK(request.batch == 1, "prompts over time are sampled one video at a time");
    changes.push_back(
        {later.first_frame, text_encoder_->encode(later.text).unsqueeze(0).to(device)});
  }
  const auto draw = [this, &request, begin, end](
                        kernels::Purpose purpose, int64_t frame, int64_t index) {
    return kernels::upload(
        frame_noise(request.prompts, begin, end, purpose, frame, index, media_.clip),
        request.device);
  };
  // Frame `frame` of this batch's part of noise that was given, [P, F, C, H, W].
  const auto given = [begin, end, device](const at::Tensor& noise_PFCHW, int64_t frame) {
    return kernels::upload(
        noise_PFCHW.narrow(0, static_cast<int64_t>(begin), static_cast<int64_t>(end - begin))
            .select(1, frame),
        device);
  };
  const at::Tensor negative = text_encoder_->encode(request.negative_prompt).unsqueeze(0);
  return {.text_BTE = batch_texts(*text_encoder_, request.prompts, begin, end).to(device),
          .negative_text_1TE = negative.to(device),
          .num_frames = request.latent_frames,
          .latent_height = media_.clip.height,
          .latent_width = media_.clip.width,
          .frame_noise =
              [&request, draw, given](int64_t frame) {
                return request.noise_PFCHW.defined()
                           ? given(request.noise_PFCHW, frame)
                           : draw(kernels::Purpose::kSampleNoise, frame, 0);
              },
          .frame_renoise =
              [&request, draw, given](int64_t frame, int64_t k) {
                return request.renoise_KPFCHW.defined()
                           ? given(request.renoise_KPFCHW[k], frame)
                           : draw(kernels::Purpose::kSampleRenoise, frame, k);
              },
          .erase_cache = request.erase_cache,
          .prompt_changes = std::move(changes),
          .prompt_switch = request.prompt_switch,
          .before_pass = request.before_pass};
}

void VideoSampler::sample_batch(const Source& source,
                                const Request& request,
                                size_t begin,
                                size_t end,
                                std::optional<c10::Stream> decoding_stream,
                                const std::function<void(const SampledChunk&)>& emit) const {
  const auto start = std::chrono::steady_clock::now();
  model::RolloutRequest rollout = rollout_of(request, begin, end);
  std::vector<std::unique_ptr<model::VideoDecoder>> decoders;
  for (size_t i = begin; i < end; ++i) decoders.push_back(decoder_->start_decoding());
  BesideWork decoding(request.decode_beside, decoding_stream);
  rollout.before_pass = [&] {
    decoding.throw_if_failed();  // rather than at the end of this chunk
    if (request.before_pass) request.before_pass();
  };
  const auto hand_out = [&](const model::RolloutChunk& chunk) {
    // Ends when the chunk is whole: what decodes it has nothing of the GPU to wait for.
    const at::Tensor latents_BFCHW = chunk.latents_BFCHW.to(at::kCPU, at::kFloat);
    decoding.start([&, chunk, latents_BFCHW] {
      for (size_t i = begin; i < end; ++i) {
        const at::Tensor latents = latents_BFCHW[static_cast<int64_t>(i - begin)];
        const at::Tensor pixels = decoders[i - begin]->next(latents);
        const int64_t next_frame = chunk.first_frame + latents.size(0);
        if (next_frame == request.latent_frames) decoders[i - begin].reset();  // its state is large
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
        emit({.prompt = i,
              .first_frame = chunk.first_frame,
              .latents_FCHW = latents,
              .pixels_F3HW = pixels,
              .seconds = chunk.denoising.seconds(),
              .cache_seconds = chunk.caching.seconds(),
              .since_start = elapsed.count(),
              .cache_bytes = chunk.cache_bytes / static_cast<int64_t>(end - begin),
              .batch_size = static_cast<int64_t>(end - begin)});
      }
    });
  };
  if (source.causal) {
    source.causal->sample(rollout, hand_out);
  } else {
    hand_out(model::sample_bidirectional(source.network, rollout, request.sampler));
  }
  decoding.finish();
}

VideoSampler::Source VideoSampler::open(const model::Network& network,
                                        const model::SamplerSettings& settings) const {
  return {network,
          model::HeldWeights(network.weights),
          bidirectional_ ? nullptr : std::make_unique<model::CausalSampler>(network, settings)};
}

void VideoSampler::sample(const Source& source,
                          const Request& request,
                          const std::function<void(const SampledChunk&)>& emit) const {
  TORCH_CHECK(decoder_, "sampling needs the decoder of the latents");
  std::optional<c10::Stream> decoding_stream;
  if (request.decode_beside && request.device.is_cuda())
    decoding_stream = kernels::side_stream(request.device);
  const size_t batch = static_cast<size_t>(request.batch), prompts = request.prompts.size();
  for (size_t begin = 0; begin < prompts; begin += batch)
    sample_batch(source, request, begin, std::min(begin + batch, prompts), decoding_stream, emit);
}

std::vector<at::Tensor> VideoSampler::sample_pixels(
    const Source& source,
    const Request& request,
    const std::function<void(const SampledChunk&)>& seen) const {
  std::vector<std::vector<at::Tensor>> parts(request.prompts.size());
  sample(source, request, [&](const SampledChunk& chunk) {
    if (seen) seen(chunk);
    parts[chunk.prompt].push_back(chunk.pixels_F3HW);
  });
  std::vector<at::Tensor> videos;
  for (const auto& chunks : parts) videos.push_back(at::cat(chunks, 0));
  return videos;
}

}  // namespace vmla::trainer
