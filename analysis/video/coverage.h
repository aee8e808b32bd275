#pragma once

#include "analysis/video/foreground.h"

/// How much of each pixel a moving shape covers.
namespace vmla::analysis {

/// A clip in the channels that a colour is bright in, their mean.
struct BrightChannels {
  Foreground excess;      // levels over the background
  Foreground background;  // one frame
};

/// `colour`: an index of data::kColourNames.
BrightChannels bright_channels(const ClipLevels& clip, int colour);

/// `map` with zeros where the border lies.
Foreground interior_of(const ClipLevels& clip, Foreground map);

/// The intensity of the shape's surface, Σv³/Σv² over the interior excess: pixels at its edge,
/// which it covers in part, hardly count. 1 without any foreground.
double surface_intensity(const Foreground& interior);

/// The covered part of each pixel, 0..1 (up to 1.2 where the surface is brighter than its mean).
/// `intensity` is that of the surface.
Foreground coverage_of(const BrightChannels& channels, double intensity);

/// The area that the shape covers in a frame, as a fraction of the frame.
double covered_area(const Foreground& coverage, int64_t frame);

/// The size of a shape of a given area: its square root, a fraction of the side. Not zero, so that
/// positions can be counted in units of it.
double size_of_area(double area);

}  // namespace vmla::analysis
