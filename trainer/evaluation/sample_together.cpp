#include "trainer/evaluation/sample_together.h"

#include "model/io/atomic_file.h"
#include "trainer/distributed/collectives/shared_text.h"
#include "trainer/evaluation/rank_rounds.h"
#include "trainer/evaluation/video_files.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

namespace vmla::trainer {
namespace {

void expect_shareable(const VideoSampler::Request& request) {
  // Rounds are of one length: each rank runs as many passes as the others.
  const bool over_time = std::ranges::any_of(
      request.prompts, [](const auto& prompt) { return !prompt.later.empty(); });
  TORCH_CHECK(!over_time, "prompts over time are not for videos that ranks divide");
  TORCH_CHECK(!request.noise_PFCHW.defined(), "given noise is not for videos that ranks divide");
  TORCH_CHECK(!request.keeps_finished, "ranks divide videos that are all to be made");
}

/// The number in the job of the rank that answers for item `i` of a round.
int64_t rank_of_item(const distributed::Mesh& mesh, int64_t i) {
  return i * mesh.shape().sequence;
}

/// `mine` of rank `root`, a tensor like `like`. It reaches all ranks, of which the lead keeps it.
at::Tensor from_rank(const distributed::Mesh& mesh,
                     int64_t root,
                     const at::Tensor& mine,
                     const at::Tensor& like) {
  if (root == 0) return mine;
  const at::Tensor values =
      mesh.rank() == root ? mine.contiguous() : at::empty(like.sizes(), like.options());
  mesh.host().broadcast(values, root).wait();
  return values;
}

}  // namespace

std::vector<std::filesystem::path> sample_to_folder_together(const distributed::Mesh& mesh,
                                                             const VideoSampler& sampler,
                                                             const model::Network& network,
                                                             const VideoSampler::Request& request,
                                                             int64_t pixel_frames,
                                                             const std::filesystem::path& folder) {
  expect_shareable(request);
  if (mesh.is_lead()) make_room_for_samples(folder);
  mesh.host().barrier();
  io::remove_stale_temporaries(folder);  // an earlier start's on this machine
  const model::HeldWeights held(network.weights);
  std::shared_ptr<data::ChildProcess> encoder;
  std::vector<std::string> entries;
  std::vector<std::filesystem::path> paths;
  for (const RankRound& round : rank_rounds(mesh, static_cast<int64_t>(request.prompts.size()))) {
    VideoSampler::Request own = request;
    const auto mine = static_cast<size_t>(round.mine);
    own.batch = 1;
    own.prompts = {request.prompts[mine]};
    own.prompts[0].name = sample_stem(request, mine);
    std::optional<VideoFiles> files;
    if (round.counts) {
      if (!encoder) encoder = data::start_video_process();
      files.emplace(sampler, own, pixel_frames, folder, false, VideoFiles::Encoders{encoder});
    }
    sampler.sample(network, own, [&](const SampledChunk& chunk) {
      if (files) files->take(chunk);
    });
    const std::string entry = files ? sample_entry(files->records()[0], own) : "";
    for (int64_t i = 0; i < round.items; ++i) {
      entries.push_back(distributed::shared_text(mesh.host(), entry, rank_of_item(mesh, i)));
      paths.push_back(folder / file_of_entry(entries.back()));
    }
    if (mesh.is_lead()) write_sample_list(entries, folder);
  }
  return paths;
}

std::vector<SampledVideo> sample_videos_together(
    const distributed::Mesh& mesh,
    const VideoSampler& sampler,
    const model::Network& network,
    const VideoSampler::Request& request,
    const std::function<void(int64_t latent_frames)>& progress) {
  expect_shareable(request);
  const auto prompts = static_cast<int64_t>(request.prompts.size());
  const int64_t ranks = mesh.shape().data_ranks();
  const int64_t batch =
      std::max<int64_t>(1, std::min(request.batch, (prompts + ranks - 1) / ranks));
  const auto size_of = [&](int64_t item) { return std::min(batch, prompts - item * batch); };
  const auto videos_of = [&](const RankRound& round) {
    return std::min(round.items * batch, prompts - round.first * batch);
  };
  const model::HeldWeights held(network.weights);
  std::vector<SampledVideo> videos;
  for (const RankRound& round : rank_rounds(mesh, (prompts + batch - 1) / batch)) {
    VideoSampler::Request own = request;
    const auto begin = request.prompts.begin() + round.mine * batch;
    own.batch = batch;
    own.prompts = {begin, begin + size_of(round.mine)};
    std::vector<std::vector<at::Tensor>> latents(own.prompts.size());
    const auto pixels = sampler.sample_pixels(network, own, [&](const SampledChunk& chunk) {
      latents[chunk.prompt].push_back(chunk.latents_FCHW);
      const bool is_chunk_whole = chunk.prompt + 1 == own.prompts.size();
      if (progress && is_chunk_whole) progress(chunk.latents_FCHW.size(0) * videos_of(round));
    });
    const at::Tensor some_latents = at::cat(latents[0]);
    for (int64_t i = 0; i < round.items; ++i) {
      const int64_t root = rank_of_item(mesh, i);
      for (int64_t place = 0; place < size_of(round.first + i); ++place) {
        SampledVideo mine;
        if (mesh.rank() == root) {
          const auto at = static_cast<size_t>(place);
          mine = {at::cat(latents[at]), pixels[at]};
        }
        SampledVideo video{from_rank(mesh, root, mine.latents_FCHW, some_latents),
                           from_rank(mesh, root, mine.pixels_F3HW, pixels[0])};
        if (mesh.is_lead()) videos.push_back(std::move(video));
      }
    }
  }
  return videos;
}

}  // namespace vmla::trainer
