#include "launch/commands/data_import.h"

namespace vmla::launch {

const CommandText DataImportArgs::kText = {
    "data import",
    "turns latents that other trainers stored into a latent dataset",
    R"(lmdb: the layout of CausVid, Self-Forcing and Causal-Forcing (docs/formats.md, Imported latents): a data.mdb, its
folder, or a folder of such folders; clean clips, or with the states of an ODE path, of which the last is the clean
clip. tar: FastGen's shards (WebDataset): a .tar, .tar.gz or .tar.zst, or a folder of them, with NAME.latent.pth or
NAME.path.pth and NAME.txt_emb.pth, NAME.txt or NAME.json; where all have text embeddings of the encoder's width, it
needs no weights, but then nothing is stored for data.caption_dropout. Other captions are embedded by --text. Rows that
are damaged, not finite or without a prompt are left out and listed in FILE.skipped.csv. The result is complete or
absent; an interrupted job goes on.

Examples:
  vmla data import --from lmdb --in mixkit_latents_lmdb --out clips.h5 \
    --text-weights text_encoder --tokenizer google/umt5-xxl
  vmla data import --from tar --in latent_shards --out clips.h5)"};

void DataImportArgs::define(OptionSet& options) {
  options.choice("--from", from, {"lmdb", "tar"}, "layout of the source").required();
  options.text("--in", in, "PATH", "the stored latents").required();
  options.text("--out", out, "FILE.h5", "dataset to write").required();
  options.text("--text", text, "TEXT", "text encoder of the captions").shows_default();
  add_text_files(options, *this);
  options.number_above_0("--fps", fps, "frames a second of the videos").shows_default();
  options.flag("--normalize", normalize, "the latents are raw: normalise them on the way");
  options.numbers_from_0(
      "--states",
      states,
      "of an ODE path, the numbers of the states that are kept, from 0 (default: "
      "by their number)");
  options.numbers_from_0("--ode-times",
                         ode_times,
                         "timesteps of the kept states, after the shift, 0 for the last (default: "
                         "those of CausVid for 4 states, of Causal-Forcing for 6)");
  add_dtype(options, dtype, "type of the stored ODE states");
  add_compute(options, *this, "of the text encoder");
  add_overwrite(options, overwrite, "dataset");
}

}  // namespace vmla::launch
