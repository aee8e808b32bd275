#pragma once

#include <string>

#include "analysis/study/weight_spectra.h"

/// The three matrices of a layer, for what writes files and pages about them.
namespace vmla::analysis {

/// One of them.
struct SpectraKind {
  const char* name;   // in files
  const char* title;  // in plots
  const char* head;   // in the table
  MatrixSpectra LayerSpectra::* member;
  const MatrixSpectra& of(const LayerSpectra& layer) const { return layer.*member; }
};
inline constexpr SpectraKind kSpectraKinds[] = {
    {.name = "k", .title = "W_K", .head = "W_K", .member = &LayerSpectra::k},
    {.name = "v", .title = "W_V", .head = "W_V", .member = &LayerSpectra::v},
    {.name = "kv", .title = "[W_K; W_V]", .head = "joint", .member = &LayerSpectra::kv}};

/// The null of a matrix: the spectrum of one of its shape with independent entries, scaled to its
/// energy.
Spectrum gaussian_null(const WeightSpectra& spectra, const MatrixSpectra& matrix);

/// Draws what spectrum.html shows: the page's text, and each SVG file's name with its text.
struct SpectraPage {
  std::string html;
  std::vector<std::pair<std::string, std::string>> figures;
};
SpectraPage weight_spectra_page(const WeightSpectra& spectra, const std::string& source);

}  // namespace vmla::analysis
