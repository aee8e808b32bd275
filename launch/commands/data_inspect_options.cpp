#include "launch/commands/data_inspect.h"

#include "launch/shared_options.h"

namespace vmla::launch {

const CommandText DataInspectArgs::kText = {
    "data inspect",
    "prints what a latent dataset holds, and checks it",
    R"(Counts, shapes, codec, text encoder, captions; checks the file; renders a contact sheet.
Of a large dataset it reads some clips, spread evenly; --full reads every byte.

Example:
  vmla data inspect clips.h5)"};

void DataInspectArgs::define(OptionSet& options) {
  options.text("file", file, "FILE.h5", "dataset: an HDF5 file or a folder of them").required();
  options.text(
      "--sheet", sheet, "FILE.png", "contact sheet to write (default: beside the dataset)");
  add_codec_weights(options, codec_weights);
  options.flag("--full", full, "read and check every clip, however many there are");
}

}  // namespace vmla::launch
