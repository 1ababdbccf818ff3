$PROBLEM Theophylline, a single oral dose
$INPUT ID TIME EVID AMT DV
$DATA theophylline.csv IGNORE=@
$SUBROUTINES ADVAN2 TRANS2
$PK
KA = THETA(1)*EXP(ETA(1))
CL = THETA(2)*EXP(ETA(2))
V  = THETA(3)*EXP(ETA(3))
S2 = V
$ERROR
Y = F + EPS(1)
$THETA (0, 1.5)  ; KA (1/h)
$THETA (0, 2.8)  ; CL (L/h)
$THETA (0, 32)   ; V (L)
$OMEGA 0.4       ; KA
$OMEGA 0.07      ; CL
$OMEGA 0.02      ; V
$SIGMA 0.5       ; additive (mg/L)^2
$ESTIMATION METHOD=1 INTERACTION
